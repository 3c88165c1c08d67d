"""Cells of one learner: groups of members with their own seed and float hyperparameters of the optimizer and the chain.

A number is a field that is annotated `float` or `float | None` and holds one; all other fields must be equal. Where the cells' numbers
differ, a scalar tensor per member replaces the float, only inside the update and refreshes: methods are built, checked and initialised
(`init`) with their own cell's floats. The tensors are float64, like Python's floats: combined with a parameter, both are rounded to its
precision at the same point.
"""

from collections.abc import Hashable, Sequence
from dataclasses import fields
from typing import Any, NamedTuple, TypeVar, get_type_hints

import torch
from torch import Tensor

from plasticity_rl.interventions.chain import Chain
from plasticity_rl.optim.optimizers import Optimizer

Part = TypeVar("Part")


class Cell(NamedTuple):
    """The members of one experiment in a learner."""

    optimizer: Optimizer
    """as returned by `interventions.assemble` for the chain"""
    chain: Chain
    members: int
    seed: int


class Hyper(NamedTuple):
    """Hyperparameters that differ between members, (S,) each."""

    rate: Tensor
    """learning rate of this update"""
    optimizer: dict[str, Tensor]
    """field -> number"""
    chain: list[dict[str, Tensor]]
    """field -> number, for each method"""


def shape(part: Any) -> Hashable:
    """The part's class and all its fields except numbers, which must be equal in all cells of a learner."""
    numbers = _numbers(part)
    return type(part), tuple((field.name, field.name in numbers or getattr(part, field.name)) for field in fields(part))


def fits(one: Cell, other: Cell) -> bool:
    """True if the cells differ in seed, members and numbers only."""
    return [shape(part) for part in (one.optimizer, *one.chain)] == [shape(part) for part in (other.optimizer, *other.chain)]


def differing(cells: Sequence[Cell]) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """Numbers that are not equal in all cells, (S,) each, by field: of the optimizer, and of each method of the chain."""
    counts = torch.tensor([cell.members for cell in cells])

    def of(parts: Sequence[Any]) -> dict[str, Tensor]:
        values = {name: [getattr(part, name) for part in parts] for name in _numbers(parts[0])}
        differ = {name: numbers for name, numbers in values.items() if len(set(numbers)) > 1}
        return {name: torch.tensor(numbers, dtype=torch.float64).repeat_interleave(counts) for name, numbers in differ.items()}

    return of([cell.optimizer for cell in cells]), [of(parts) for parts in zip(*(cell.chain for cell in cells), strict=True)]


def vary(part: Part, numbers: dict[str, Tensor]) -> Part:
    """`part` with scalar tensors in place of some of its floats. Not validated, as the floats were."""
    if not numbers:
        return part
    varied = object.__new__(type(part))
    for name, value in vars(part).items():
        object.__setattr__(varied, name, numbers.get(name, value))
    return varied


def _numbers(part: Any) -> list[str]:
    hints = get_type_hints(type(part))
    return [f.name for f in fields(part) if hints[f.name] in (float, float | None) and getattr(part, f.name) is not None]
