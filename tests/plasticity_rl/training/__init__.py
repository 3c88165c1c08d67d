"""Tests of plasticity_rl.training."""
