"""Published scores: scores.py puts them beside the project's, sources.py reads files by kind, and each other file reads one kind."""
