"""Tests of analysis.published."""
