"""Interventions, metrics and a lifted learner for the study of plasticity. Importing this imports nothing heavy."""

__version__ = "0.1.0"
