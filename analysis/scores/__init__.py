"""Scores: curves, settings, suites, verdicts."""
