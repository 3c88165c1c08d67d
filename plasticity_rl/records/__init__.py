"""Records of a run: events, tables, checkpoints and the folder that holds them."""
