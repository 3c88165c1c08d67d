"""Tests of analysis.data."""
