"""Carry out experiments, one or several, each in its own run folder."""
