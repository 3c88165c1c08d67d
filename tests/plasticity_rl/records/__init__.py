"""Tests of plasticity_rl.records."""
