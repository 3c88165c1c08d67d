"""Runs carried out: one experiment into its folder, and several."""
