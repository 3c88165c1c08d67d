"""Events of a run, in the order in which an agent yields them. Imports no torch.

Counts (frames, steps, updates) are per member, since the start of the run, at the end of the interval that the event covers.
"""

import math
from collections.abc import Generator, Iterator
from typing import Any, Generic, Literal, NamedTuple, TypeVar

TRAINING = ("online", "return")
"""kinds of scores that come from learning itself"""


class Score(NamedTuple):
    """A row of scores.csv: the performance of one member."""

    member: int
    visit: int
    task: str
    cycle: int
    frames: int
    """emulator frames; 0 in supervised streams"""
    steps: int
    """agent decisions; in supervised streams, batches"""
    updates: int
    """optimizer steps"""
    kind: str
    """`online`: mean accuracy since the previous row, each batch scored before it is learned from; explained variance in regression.
    `test`: the same on held-out examples, after a visit's last update. `return`: undiscounted return of a finished episode.
    `cut`: return so far of an episode ended by a checkpoint or a change of task; never part of a score.
    `evaluation`: undiscounted return of one whole episode played without exploration and without learning. Its visit, cycle and counts are
    those of the current visit, its task is the one played, any met so far; never part of a training curve."""
    score: float


class Metric(NamedTuple):
    """A row of metrics.csv: a diagnostic of one member."""

    member: int
    visit: int
    task: str
    cycle: int
    frames: int
    steps: int
    updates: int
    name: str
    """as in TensorBoard: `weight_norm/hidden0`"""
    value: float


class Tick(NamedTuple):
    """Progress of a run; shown, never stored. A run that stops is answered here: see Dialogue."""

    visit: int
    task: str
    cycle: int
    frames: int
    steps: int
    updates: int


class Media(NamedTuple):
    """A histogram or image; logged to TensorBoard and Weights & Biases only."""

    visit: int
    task: str
    cycle: int
    frames: int
    steps: int
    updates: int
    name: str
    kind: Literal["histogram", "image", "spectrum"]
    values: Any
    """numpy array: numbers (n,); network inputs (examples, *shape); or singular values (2, k), the second row an untrained network's"""


class Snapshot(NamedTuple):
    """The complete state of a run. Its tensors are the run's own: save them before the run continues."""

    tensors: dict[str, Any]
    """torch tensors by name"""
    counters: dict[str, Any]
    """JSON values"""


Event = Score | Metric | Media | Tick | Snapshot
E = TypeVar("E")
Row = Score | Metric
"""An event that a table stores."""


class Dialogue(Generic[E]):
    """Iterate over the events of a run, and answer the latest one: True asks a generator for a snapshot as soon as it can make one.

    The run may then be stopped: it resumes from such a snapshot as if it had never stopped. Agents that cannot make one ignore the answer.
    """

    def __init__(self, events: Iterator[E]) -> None:
        self._events = events
        self.answer = False

    def __iter__(self) -> Iterator[E]:
        event = next(self._events, None)
        while event is not None:
            yield event
            try:
                event = self._events.send(self.answer) if isinstance(self._events, Generator) else next(self._events)
            except StopIteration:
                return


def refuse_number(row: Row) -> None:
    """Raise FloatingPointError for a row with a non-finite value."""
    if not math.isfinite(row[-1]):
        raise FloatingPointError(f"{row[-2]} of member {row.member} is {row[-1]} after {row.updates} updates")
