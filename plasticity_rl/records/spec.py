"""The description of a run in spec.json, for readers that do not import the parts it names. Imports no torch."""

from typing import Any, NamedTuple

from plasticity_rl.records.tables import LARGEST

MAX_MEMBERS, MAX_SEED, MAX_CELLS = 4_096, 2**31 - 1, 2**22
"""limits of what is read from disk, as a reader takes memory for every cell: a member's visit"""


class Spec(NamedTuple):
    """The content of spec.json."""

    key: str
    setting: str
    """equal for runs that differ in chain, seed and members only"""
    benchmark: str
    label: str
    """the chain in words"""
    fresh_control: bool
    """whether the chain ends in a reset of everything at every visit, and so is the control of the chain before that reset"""
    unit: str
    """unit of a visit's budget and of a curve's axis: `updates` or `frames`"""
    fingerprint: str
    """hash of the task definitions; runs of one setting, seed and number of members saw the same data if and only if it is equal"""
    members: int
    seed: int
    visits: list[dict[str, Any]]
    """index, task, cycle, budget of each visit, in order"""
    references: dict[str, dict[str, float]]
    """task -> {"random": score, "human": score}, where known"""
    experiment: dict[str, Any]
    tasks_alike: bool = False
    """whether an untrained agent learns every visit as well as the first, as tasks are draws of one distribution; older folders do not say
    so"""

    @property
    def control_of(self) -> str:
        """Label of the chain whose control this run is; empty if it is none. The plain control is that of `none`."""
        return (self.label.rpartition(" + ")[0] or "none") if self.fresh_control else ""


def ends_in_reset(experiment: dict[str, Any]) -> bool:
    """True if the last method of a chain in spec.json is a reset of everything at every visit."""
    word, fields = (experiment.get("chain") or [["", {}]])[-1]
    return word == "reset" and [fields.get(name) for name in ("part", "clock", "every")] == ["everything", "task", 1]


def fault(spec: Spec) -> str:
    """Say why these values cannot describe a run; empty if they can."""
    texts = (spec.key, spec.setting, spec.benchmark, spec.label, spec.unit, spec.fingerprint)
    if not all(isinstance(text, str) and text for text in texts):
        return "key, setting, benchmark, label, unit and fingerprint must be text"
    if spec.unit not in ("updates", "frames"):
        return f"its unit must be 'updates' or 'frames', not {spec.unit!r}"
    if not _is_whole(spec.members, 1, MAX_MEMBERS) or not _is_whole(spec.seed, 0, MAX_SEED):
        return f"members must be a whole number in [1, {MAX_MEMBERS}], and the seed one in [0, {MAX_SEED}]"
    if not isinstance(spec.experiment, dict) or not all(isinstance(each, bool) for each in (spec.fresh_control, spec.tasks_alike)):
        return "its experiment must be an object, and fresh_control and tasks_alike true or false"
    if not _are_parts(spec.experiment):
        return "each part of its experiment must be a name with an object of fields"
    if not _are_visits(spec.visits):
        return "its visits must be numbered from 0, each with a task, a cycle and a budget above 0"
    if spec.members * len(spec.visits) > MAX_CELLS:
        return f"its {spec.members:,} members have {len(spec.visits):,} visits; at most {MAX_CELLS:,} together can be read"
    if not _are_references(spec.references):
        return "its references must give each task a random score and a different human one, and no other normaliser"
    return ""


def _is_whole(value: Any, least: int, most: int = LARGEST - 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _are_parts(experiment: dict[str, Any]) -> bool:
    lists = [experiment.get(name, []) for name in ("chain", "metrics")]
    parts = [experiment[name] for name in ("benchmark", "agent", "network", "optimizer", "schedule") if name in experiment]
    return all(isinstance(each, list) for each in lists) and all(
        isinstance(part, list) and len(part) == 2 and isinstance(part[0], str) and isinstance(part[1], dict)
        for each in (parts, *lists)
        for part in each
    )


def _are_visits(visits: Any) -> bool:
    return (
        isinstance(visits, list)
        and len(visits) > 0
        and all(
            isinstance(visit, dict)
            and visit.get("index") == index
            and isinstance(visit.get("task"), str)
            and _is_whole(visit.get("cycle"), 0)
            and _is_whole(visit.get("budget"), 1)
            for index, visit in enumerate(visits)
        )
    )


def _are_references(references: Any) -> bool:
    return isinstance(references, dict) and all(
        isinstance(scores, dict)
        and set(scores) <= {"random", "human"}
        and all(isinstance(score, int | float) and abs(score) < float("inf") for score in scores.values())
        and ("random" not in scores or scores["random"] != scores.get("human"))
        for scores in references.values()
    )
