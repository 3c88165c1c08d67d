"""Tests of launch.tracking."""
