"""Tests of launch.claims.run."""
