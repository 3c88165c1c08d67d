"""Rows of the two CSV files as the curves that people look at, whatever draws them."""

import statistics
from collections.abc import Callable

from plasticity_rl.records.events import Media, Metric, Score
from plasticity_rl.records.spec import Spec

SCORE, EVALUATION = "Score", "Evaluation"  # capitals come before the small letters of all other tags, so TensorBoard opens on these
SHOWN = 10  # members whose scores have a curve of their own
LAYERS = 6  # of which each has a curve; those of a deeper network share their mean's
EVALUATED = 30  # curves of evaluations by member, or they are means over members


class Curves:
    """Hands points of curves on, as (tag, value, updates or frames), moment by moment. Training scores have a curve a member; evaluations
    one a task and member, the mean over its episodes; diagnostics one, the mean over members.
    """

    def __init__(self, spec: Spec, draw: Callable[[str, float, int], None]) -> None:
        self._spec, self._draw = spec, draw
        self._values: dict[str, list[float]] = {}
        self._at = 0
        tasks = len({visit["task"] for visit in spec.visits})
        self._by_member = tasks * min(spec.members, SHOWN) <= EVALUATED

    def reach(self, event: Score | Metric | Media) -> int:
        """Where on the axis an event stands; what is from before it is complete, and handed on."""
        at = event.updates if self._spec.unit == "updates" else event.frames
        if at != self._at:
            self.flush()
            self._at = at
        return at

    def add(self, row: Score | Metric) -> None:
        at = self.reach(row)
        if isinstance(row, Metric):
            self._values.setdefault(row.name if "/" in row.name else f"training/{row.name}", []).append(row.value)
        elif row.kind == "evaluation":
            if row.member < SHOWN or not self._by_member:
                self._values.setdefault(f"{EVALUATION}/{row.task}" + self._by_member * f"/member{row.member}", []).append(row.score)
        elif row.kind != "cut" and row.member < SHOWN:
            self._draw(f"{SCORE}/{row.kind}/member{row.member}", row.score, at)

    def flush(self) -> None:
        """There is no more of this moment."""
        for curve, values in _merged(self._values).items():
            self._draw(curve, statistics.fmean(values), self._at)
        self._values = {}


def _merged(curves: dict[str, list[float]]) -> dict[str, list[float]]:
    """The curves of one moment, those of a kind that has more than `LAYERS` layers as one."""
    kinds: dict[str, list[str]] = {}
    for curve in curves:
        kinds.setdefault(curve.partition("/")[0], []).append(curve)
    merged: dict[str, list[float]] = {}
    for kind, of_kind in kinds.items():
        if len(of_kind) > LAYERS and kind not in ("training", EVALUATION):
            merged[f"{kind}/mean over layers"] = [value for curve in of_kind for value in curves[curve]]
        else:
            merged |= {curve: curves[curve] for curve in of_kind}
    return merged
