"""Curves made from the rows of the two CSV files, for any viewer."""

import statistics
from collections.abc import Callable

from plasticity_rl.records.events import Media, Metric, Score
from plasticity_rl.records.spec import Spec

SCORE, EVALUATION = "Score", "Evaluation"  # capitals sort before the lower case of all other tags, so TensorBoard opens on these
SHOWN = 10  # maximum number of members with a separate score curve
LAYERS = 6  # maximum number of layers with separate curves; a deeper network's mean is one curve
EVALUATED = 30  # maximum number of evaluation curves by member; beyond it, they are means over members


class Curves:
    """Converter of events to curve points (tag, value, updates or frames), step by step. Training scores have one curve per member;
    evaluations one per task and member, the mean over its episodes; diagnostics one, the mean over members.
    """

    def __init__(self, spec: Spec, draw: Callable[[str, float, int], None]) -> None:
        self._spec, self._draw = spec, draw
        self._values: dict[str, list[float]] = {}
        self._at = 0
        tasks = len({visit["task"] for visit in spec.visits})
        self._by_member = tasks * min(spec.members, SHOWN) <= EVALUATED

    def reach(self, event: Score | Metric | Media) -> int:
        """Return an event's position on the axis; passes on the points of earlier, now complete, positions."""
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
        """Pass on the points of the current position, which is complete."""
        for curve, values in _merged(self._values).items():
            self._draw(curve, statistics.fmean(values), self._at)
        self._values = {}


def _merged(curves: dict[str, list[float]]) -> dict[str, list[float]]:
    """Average a kind's curves at one position if it has more than `LAYERS` layers."""
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
