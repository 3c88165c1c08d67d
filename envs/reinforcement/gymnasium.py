"""Sequences of Gymnasium's environments, of one's own among them. Imports no torch, and Gymnasium only when a space is asked for."""

import hashlib
from dataclasses import dataclass
from functools import cache, partial
from typing import Annotated

import numpy as np

from envs.reinforcement.attributes import Attribute
from envs.reinforcement.backends.layouts import Spaces
from envs.reinforcement.backends.pool import Backend, Opening, Pool
from envs.reinforcement.ids import Ids, parsed
from envs.sequences import Visit
from plasticity_rl import plugins
from plasticity_rl.checks import Interval, UsageError


@dataclass(frozen=True, kw_only=True)
class Gymnasium(Ids):
    """Environments registered with Gymnasium, in sequence (Towers et al. 2024, arXiv 2407.17032).

    `--plugin my_envs` imports a module of one's own that registers ids. Observations may be vectors, images (channels last, first or none)
    and what Gymnasium flattens, Dict and Tuple among them. Actions may be Discrete, MultiDiscrete, taken as the combinations of its parts,
    or a Box of floats with bounds, to which agents' actions in [-1, 1] are scaled. Environments are made by `gymnasium.make`, whose time
    limits truncate. Raises UsageError for what does not exist or cannot be used.
    """

    set: tuple[str, ...] = ()
    """attributes of the unwrapped environment that differ between tasks: `length=0.25..1` draws from a range for each member and task,
    `gravity=9.8;5;15` takes the values of a list in turn. Values that the constructor derived from an attribute stay as they were"""
    stacked: Annotated[int, Interval("[1, 64]")] = 1
    """observations in one input, stacked by Gymnasium: as channels of images, one after another in vectors"""
    processes: bool = False
    """whether each environment has a process of its own (`AsyncVectorEnv`); otherwise all step in turn"""

    @property
    def varies(self) -> bool:
        """True if two tasks of one id differ."""
        return bool(self.shifts or self.set)

    @property
    def tasks_alike(self) -> bool:
        """True if tasks are one environment under other names of features and actions, without attributes that differ."""
        return not self.set and super().tasks_alike

    def __post_init__(self) -> None:
        names = [each.name for each in self.attributes]
        if len({*names}) < len(names):
            raise UsageError("gymnasium: set names an attribute twice")
        super().__post_init__()

    @property
    def attributes(self) -> list[Attribute]:
        """Meaning of `set`. Raises UsageError for other texts."""
        return [Attribute.read(text, "gymnasium", "set") for text in self.set]

    def spaces(self, index: int) -> Spaces:
        """Spaces of one of `ids`. Raises UsageError if they cannot be used."""
        return _spaces(self.ids[index], self.options(index), self.stacked, tuple(each.name for each in self.attributes))

    def backend(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int, opening: Opening | None) -> Backend:
        """Environments of the visit's task, one for each of `seeds` (members, environments), without shifts and padding. They step in this
        thread, or in processes.
        """
        return self._backend(visit, seeds, seed, opening, renders=False)

    def render_pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int) -> Pool | None:
        """The environments of `pool` with RGB observations; None if they render none. Raises UsageError if a package for it is missing."""
        from envs.reinforcement.backends import gymnasium

        index = self.names.index(visit.task) % len(self.ids)
        if not gymnasium.renders(self.ids[index], self.arguments(index)):
            return None
        backend = self.fitted(self._backend(visit, seeds, seed, None, renders=True))
        return Pool(self.shifted(backend, visit, seeds, seed, None, self.inputs[0], self.action_space.size))

    def fingerprint(self, seed: int, members: int) -> str:
        """16 hexadecimal digits: hash of the fields, of every member's shifts, and of the modules of a plugin's environments."""
        from envs.reinforcement.backends import gymnasium

        own = [gymnasium.own_source(each, self.arguments(index)) for index, each in enumerate(self.ids)]
        digest = hashlib.sha256(super().fingerprint(seed, members).encode() + b"".join(own))
        return digest.hexdigest()[:16]

    def _backend(self, visit: Visit, seeds: np.ndarray, seed: int, opening: Opening | None, renders: bool) -> Backend:
        from envs.reinforcement.backends import gymnasium

        (members, num_envs), task = seeds.shape, self.names.index(visit.task)
        coming = self.ramp(visit, opening)
        attributes = self.attributes
        makes, index = [], task % len(self.ids)
        for member in range(members):
            now = {each.name: each.value(seed, member, task) for each in attributes}
            before = {each.name: each.value(seed, member, self.names.index(coming[0])) for each in attributes} if coming else now
            make = partial(gymnasium.make_own, plugins.allowed(), self.ids[index], self.arguments(index), self.stacked, renders)
            makes += [partial(make, before, now, coming[1] if coming else None)] * num_envs
        return gymnasium.GymnasiumBackend(self.ids[index], makes, seeds.reshape(-1), self.stacked, self.processes, renders)


@cache
def _spaces(env_id: str, kwargs: str, stacked: int, attributes: tuple[str, ...]) -> Spaces:
    from envs.reinforcement.backends import gymnasium

    return gymnasium.spaces(env_id, parsed("gymnasium", kwargs), stacked, attributes)
