"""Tests of agents.data."""
