"""Other people's scores: scores.py puts them beside ours, sources.py reads files by kind, and each other file reads one kind."""
