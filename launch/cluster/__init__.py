"""Sweeps and searches on Ray clusters, and files that start clusters."""
