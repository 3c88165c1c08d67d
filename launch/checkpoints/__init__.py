"""Checkpoints put to use: play, film, probe."""
