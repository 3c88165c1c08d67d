"""Tests of plasticity_rl."""
