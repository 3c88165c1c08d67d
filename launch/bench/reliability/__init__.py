"""Trials of what runs promise when something goes wrong: promises/ has a file for each, and measure.py counts."""
