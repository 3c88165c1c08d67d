"""Tests of `python -m launch check`."""
