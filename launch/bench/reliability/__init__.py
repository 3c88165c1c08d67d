"""Trials of what runs promise when something goes wrong: one file a promise, counted by measure.py."""
