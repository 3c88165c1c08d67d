"""Tests of plasticity_rl.metrics."""
