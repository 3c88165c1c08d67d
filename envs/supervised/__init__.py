"""Supervised streams: tasks as changes to examples."""
