"""Mechanisms: what moved before the score fell."""
