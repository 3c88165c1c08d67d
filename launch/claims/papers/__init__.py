"""The claims of papers, one in each file."""
