"""The update of one network, and S networks updated side by side."""
