"""Measurements of the project's own speed; each prints what it ran on."""
