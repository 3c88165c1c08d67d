"""One promise a file: what it says, and trials of it without end."""
