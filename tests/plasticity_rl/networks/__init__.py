"""Tests of plasticity_rl.networks.specs."""
