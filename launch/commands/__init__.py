"""The commands of `python -m launch`, a function each; heavy imports stand inside the functions."""
