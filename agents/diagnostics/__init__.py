"""Diagnostics of a run: rows of metrics.csv, media, probes."""
