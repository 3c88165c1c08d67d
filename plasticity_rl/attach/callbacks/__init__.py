"""Callbacks of other people's training frameworks, one file each, which imports its framework: `pip install 'plasticity-rl[NAME]'`."""
