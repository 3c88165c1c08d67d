"""Claims of papers, one file each, as data: `python -m launch claims`."""
