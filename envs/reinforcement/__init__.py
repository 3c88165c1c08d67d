"""Reinforcement-learning benchmarks, and the pools of environments behind them."""
