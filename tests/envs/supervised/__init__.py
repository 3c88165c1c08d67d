"""Tests of envs.supervised."""
