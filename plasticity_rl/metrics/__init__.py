"""Metrics, one file per family: pure functions of one network, to be lifted over members. docs/metrics.md says what each shows."""
