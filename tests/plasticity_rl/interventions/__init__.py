"""Tests of plasticity_rl.interventions."""
