"""Tests of launch.config."""
