"""Tests of plasticity_rl.optim."""
