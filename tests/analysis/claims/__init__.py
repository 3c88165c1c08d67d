"""Tests of analysis.claims."""
