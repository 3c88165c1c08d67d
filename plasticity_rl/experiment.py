"""Description of a run: a frozen, validated value, with JSON both ways and a key that hashes its content. Imports no torch.

An experiment consists of parts, each a frozen dataclass of plain fields. In JSON a part is `["redo", {"tau": 0.1, ...}]`: its word (see
registry.py) and its fields, defaults included except for ADDED ones. A plugin's part is `["plugin:my_methods.Decay", {...}]`, and is read
only if its module is allowed (see plugins.py).
"""

import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol

from plasticity_rl import registry
from plasticity_rl.checks import Interval, UsageError, check, check_given, check_repeats, nearest
from plasticity_rl.records.events import Event, Snapshot
from plasticity_rl.records.spec import MAX_MEMBERS, MAX_SEED

if TYPE_CHECKING:  # they import torch
    from plasticity_rl.interventions.base import Intervention
    from plasticity_rl.metrics.base import NetworkMetric
    from plasticity_rl.networks.layers import HeadSpec
    from plasticity_rl.networks.modules import ModuleSpec
    from plasticity_rl.networks.specs import NetworkSpec
    from plasticity_rl.optim.optimizers import Optimizer

    Network = NetworkSpec | ModuleSpec
else:
    Intervention = Network = NetworkMetric = Optimizer = Any

LISTS = {"chain": "method", "metrics": "metric"}
"""field that holds several parts -> their kind"""
KINDS = {name: name for name in ("benchmark", "agent", "network", "optimizer", "schedule")} | LISTS
"""field -> kind of its part or parts"""


class Benchmark(Protocol):
    """Attributes of every benchmark; those of streams and of games stand in `envs`."""

    supervision: ClassVar[str]
    unit: ClassVar[str]

    @property
    def inputs(self) -> tuple[int, ...]: ...
    @property
    def tasks_alike(self) -> bool: ...
    def visits(self) -> Sequence[Any]: ...
    def references(self) -> dict[str, dict[str, float]]: ...
    def fingerprint(self, seed: int, members: int) -> str: ...


class Agent(Protocol):
    """Attributes of every agent; those of each kind stand in `agents`."""

    supervision: ClassVar[str]
    trains_groups: ClassVar[bool]
    has_replay: ClassVar[bool]

    @property
    def batch_size(self) -> int: ...
    def fit(self, experiment: "Experiment") -> None: ...
    def heads(self, benchmark: Any) -> "HeadSpec | int": ...
    def train(self, experiment: "Experiment", device: str, compile: bool, resume: Snapshot | None) -> Iterator[Event]: ...


class Schedule(Protocol):
    """A learning rate as a function of updates."""

    @property
    def clock(self) -> str: ...
    def at(self, update: int, total: int) -> float: ...


@dataclass(frozen=True)
class Experiment:
    """One run: `members` independent networks of one agent, trained side by side on one benchmark under one chain.

    Raises UsageError for fields out of range, for an agent that cannot learn from the benchmark, and for parts that do not fit together.
    """

    benchmark: Benchmark
    agent: Agent
    network: Network
    optimizer: Optimizer
    schedule: Schedule
    chain: tuple[Intervention, ...] = ()
    members: Annotated[int, Interval(f"[1, {MAX_MEMBERS}]")] = 5
    seed: Annotated[int, Interval(f"[0, {MAX_SEED}]")] = 0
    diagnose_every: Annotated[int, Interval("[1, inf)")] = 500
    """updates between two rows of diagnostics"""
    curvature_every: Annotated[int, Interval("[0, inf)")] = 0
    """updates between two rows of curvature and other costly diagnostics, which take as long as hundreds of updates; 0 for none"""
    probe_every: Annotated[int, Interval("[0, inf)")] = 0
    """updates between two probes, which train copies of the networks beside untrained ones and take longer than as many updates of the run;
    0 for none"""
    probe_updates: Annotated[int, Interval("[1, inf)")] = 2_000
    """updates of each copy in a probe; Lyle et al. 2023 (arXiv 2303.01486), by a secondary source"""
    checkpoint_every: Annotated[int, Interval("[1, inf)")] = 10_000
    """agent steps (of one member) between two checkpoints; each ends a segment, and an interrupted run resumes from the last"""
    evaluate: Annotated[int, Interval("[0, 1000]")] = 0
    """full episodes that each member plays without learning at every checkpoint, and in every game met so far at the end of a visit; 0 for
    none. Supervised streams have none, as each batch is scored before it is learned from"""
    actors: Annotated[int, Interval("[0, 4096]")] = 0
    """processes on a Ray cluster that act for the learner, each in an equal share of every member's environments, with weights one rollout
    old; 0 acts in the learner's own process"""
    metrics: tuple[NetworkMetric, ...] = ()
    """metrics of people's own modules, computed with the diagnostics; left out of the JSON if there are none, and of `setting`"""
    free_running: bool = False
    """actors continue without waiting for each other or the learner, at most two rollouts ahead; runs are then not reproducible, and the
    age of the weights is logged"""

    def __post_init__(self) -> None:
        check(self)
        if self.agent.supervision != self.benchmark.supervision:
            raise UsageError(
                f"{type(self.agent).__name__} learns from {self.agent.supervision}, but {type(self.benchmark).__name__} provides "
                f"{self.benchmark.supervision}"
            )
        check_repeats(self.chain)
        if twice := {type(each).__name__ for each in self.metrics if sum(type(each) is type(other) for other in self.metrics) > 1}:
            raise UsageError(f"{min(twice)} is twice in metrics: name it once")
        for each in self.chain:
            if each.is_noop(self.optimizer):
                raise UsageError(f"{word(each)} has no effect under {type(self.optimizer).__name__}; change its settings or leave it out")
        if self.free_running and not self.actors:
            raise UsageError("free_running needs remote actors, but actors is 0")
        self.agent.fit(self)

    def to_json(self) -> dict[str, Any]:
        """Plain lists and dicts with every default; the inverse of `from_json`."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name in KINDS:
            value = fields[name]
            fields[name] = [_part_to_json(part) for part in value] if name in LISTS else _part_to_json(value)
        if not self.metrics:
            del fields["metrics"]
        return fields

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Experiment":
        """Experiment from what `to_json` returned. Raises UsageError for an unknown field or part."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in fields:
            if name not in known:
                raise UsageError(f"unknown field {name!r} of an experiment; {nearest(name, known)}")
        if absent := [name for name in KINDS if name not in fields and name != "metrics"]:
            raise UsageError(f"an experiment needs {', '.join(absent)}")
        made: dict[str, Any] = {"metrics": []} | fields
        for name, kind in KINDS.items():
            value = made[name]
            if name in LISTS and not isinstance(value, list | tuple):
                raise UsageError(f"{name} must be a list of {kind}s, not {value!r}")
            made[name] = tuple(_part_from_json(kind, part) for part in value) if name in LISTS else _part_from_json(kind, value)
        return cls(**made)

    @property
    def key(self) -> str:
        """Hash of the whole content, 16 hexadecimal digits."""
        return _digest(self.to_json())

    @property
    def setting(self) -> str:
        """Hash of the content except chain, seed, members and metrics, equal for runs that can be compared."""
        apart = ("chain", "seed", "members", "metrics")
        return _digest({name: value for name, value in self.to_json().items() if name not in apart})

    @property
    def fresh_control(self) -> bool:
        """True if the chain ends in a reset of everything at every visit: it is the control of the chain before that reset."""
        return bool(self.chain) and self.chain[-1].starts_over

    @property
    def tasks_alike(self) -> bool:
        """True if an untrained agent learns every visit as well as the first: tasks are draws of one distribution, of whose changes the
        agent is told, and the learning rate is constant or starts anew with each."""
        told = all(visit.told for visit in self.benchmark.visits())
        steady = self.schedule.clock == "visit" or registry.name(self.schedule) == "constant"
        return self.benchmark.tasks_alike and told and steady

    @property
    def label(self) -> str:
        """Chain as text: `none`, `nap + redo:tau=0.1`; `fresh` for the plain control, which is that reset alone."""
        plain = len(self.chain) == 1 and self.fresh_control
        return "fresh" if plain else " + ".join(map(word, self.chain)) or "none"


def until(done: int, every: int) -> int:
    """Steps from `done` to the next multiple of `every`, at least 1; sys.maxsize if `every` is 0."""
    return every - done % every if every else sys.maxsize


def word(part: Any) -> str:
    """Part as the command line writes it: its word, or a plugin's class, and the fields that differ from their defaults; before it the
    network that a method is limited to."""
    default = type(part)()
    changed, before = [], ""
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if value == getattr(default, field.name):
            continue
        if field.metadata.get("prefix"):
            before = f"{value}."
        else:
            changed.append(f"{field.name}={'+'.join(map(str, value)) or 'none' if isinstance(value, tuple) else value}")
    return before + registry.title(part) + (":" + ",".join(changed) if changed else "")


def _part_to_json(part: Any) -> list[Any]:
    fields = dataclasses.fields(part)
    left_out = {field.name for field in fields if field.metadata.get("added") and getattr(part, field.name) == field.default}
    values = {name: value for name, value in dataclasses.asdict(part).items() if name not in left_out}
    return [registry.name(part), {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}]


def _part_from_json(kind: str, described: Any) -> Any:
    try:
        word, fields = described
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{kind} must be a word and its fields, not {described!r}") from error
    part = registry.find(kind, str(word))
    known = [field.name for field in dataclasses.fields(part)]
    for name in given:
        if name not in known:
            raise UsageError(f"unknown field {name!r} of {word}; {nearest(name, known)}")
    check_given(part, given)
    return part(**given)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()[:16]
