"""Training loops: acting and learning during a visit."""
