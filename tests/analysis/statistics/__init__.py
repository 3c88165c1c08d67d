"""Tests of analysis.statistics.bootstrap."""
