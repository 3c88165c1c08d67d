"""Tests of plasticity_rl.attach.callbacks."""
