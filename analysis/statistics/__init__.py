"""Statistics: bootstrap, aggregates, comparisons."""
