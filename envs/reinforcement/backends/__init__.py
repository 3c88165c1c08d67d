"""Simulators behind one checked interface: EnvPool, ale-py, Gymnasium. Benchmarks build on them; they know none."""
