"""Tests of analysis.report.page."""
