"""Tests of envs.reinforcement.backends."""
