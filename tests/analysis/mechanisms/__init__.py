"""Tests of analysis.mechanisms.findings."""
