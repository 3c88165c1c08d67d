"""The update of one network, and of S networks side by side."""
