"""`python -m launch check`: readers of checkpoints, inputs, and what is shown."""
