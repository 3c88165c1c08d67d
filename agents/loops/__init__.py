"""Training loops: how a visit is played and learned from."""
