"""Tests of launch.bench."""
