"""Experiments in words: parsing, defaults, papers' settings."""
