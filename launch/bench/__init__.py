"""Measurements of the project's speed; each prints a description of the machine."""
