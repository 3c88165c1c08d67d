"""Tests of agents.diagnostics.rows."""
