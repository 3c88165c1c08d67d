"""Tests of launch.cluster."""
