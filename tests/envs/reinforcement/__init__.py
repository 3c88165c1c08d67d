"""Tests of envs.reinforcement."""
