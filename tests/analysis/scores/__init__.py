"""Tests of analysis.scores.setting."""
