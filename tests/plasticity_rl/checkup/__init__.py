"""Tests of plasticity_rl.checkup."""
