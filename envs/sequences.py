"""Sequences of tasks: visits in order, each with a budget. Imports no torch."""

from dataclasses import dataclass

from plasticity_rl.checks import UsageError


@dataclass(frozen=True)
class Visit:
    """One period of learning on one task."""

    index: int
    """position in the sequence, from 0"""
    task: str
    """name of the task"""
    cycle: int
    """number of earlier visits to the task"""
    budget: int
    """updates (supervised streams) or frames (reinforcement learning) per member"""
    told: bool = True
    """whether the learner is told that the visit begins"""


def sequence(tasks: tuple[str, ...], budget: int, cycles: int = 1, told: bool = True) -> tuple[Visit, ...]:
    """Each task once in the order given, the whole list `cycles` times; all visits are `told` or none."""
    if not tasks:
        raise UsageError("a sequence needs at least one task")
    return tuple(
        Visit(cycle * len(tasks) + position, task, cycle, budget, told) for cycle in range(cycles) for position, task in enumerate(tasks)
    )
