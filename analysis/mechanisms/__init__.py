"""Mechanisms: quantities that moved before the score fell."""
