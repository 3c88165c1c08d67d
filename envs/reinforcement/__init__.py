"""Reinforcement-learning benchmarks; backends/ holds the pools of environments behind them."""
