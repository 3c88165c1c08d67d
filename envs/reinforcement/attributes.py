"""Numbers that differ between tasks, from a range or a list, in words. Imports no torch."""

import math
from typing import NamedTuple

import numpy as np

from plasticity_rl import plugins
from plasticity_rl.checks import UsageError
from plasticity_rl.seeds import derive


class Attribute(NamedTuple):
    """A number of an environment that differs between tasks."""

    name: str
    """`length`, or of an object that the environment has, `model.opt.timestep`"""
    low: float
    high: float
    """ends of a range"""
    values: tuple[float, ...]
    """a list, or empty for a range"""

    @classmethod
    def read(cls, text: str, word: str, field: str) -> "Attribute":
        """Attribute from `name=low..high` or `name=value;value`, in a field of a benchmark. Raises UsageError for other texts."""
        name, _, rest = text.partition("=")
        try:
            numbers = tuple(float(each) for each in rest.split(".." if ".." in rest else ";"))
        except ValueError:
            numbers = ()
        ranged = ".." in rest
        if not plugins.is_path(name) or not numbers or not all(map(math.isfinite, numbers)) or (ranged and len(numbers) != 2):
            raise UsageError(f"{word}: {field} takes name=low..high or name=value;value, not {text!r}")
        if ranged and numbers[0] >= numbers[1]:
            raise UsageError(f"{word}: the range in {text!r} must go upwards")
        return cls(name, numbers[0], numbers[-1], () if ranged else numbers)

    def value(self, seed: int, member: int, task: int, log: bool = False) -> float:
        """Value in a task of a member. Those of a range are drawn uniformly, or with `log`, their logarithms are."""
        if self.values:
            return self.values[task % len(self.values)]
        random = np.random.default_rng(derive(seed, member, "set", self.name, task))
        return math.exp(random.uniform(math.log(self.low), math.log(self.high))) if log else float(random.uniform(self.low, self.high))
