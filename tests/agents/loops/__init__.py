"""Tests of agents.loops."""
