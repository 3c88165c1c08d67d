"""Ray clusters: sweeps and searches on them, and the files that begin them."""
