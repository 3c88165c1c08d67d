"""Runs as tables: loading, comparability, provenance, published scores."""
