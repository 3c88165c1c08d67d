"""Tests of agents.acting.policy."""
