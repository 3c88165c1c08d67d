"""Promise: a report names what is wrong with its runs, or refuses them."""

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from random import Random

from analysis.data.load import load
from launch.bench.reliability.processes import run
from launch.bench.reliability.promise import Outcome, Promise
from launch.bench.reliability.runs import Twins, kinds
from plasticity_rl.checks import UsageError
from plasticity_rl.records.folder import RunFolder, find_runs

CHAINS = ("redo", "l2-init", "reset")
"""chains of the sound set of runs, one of them the fresh control"""


def _row(change: Callable[[list[bytes], Random], None]) -> Callable[[RunFolder, Random], None]:
    """An edit of a middle row of the scores, given as cells."""

    def edit(folder: RunFolder, random: Random) -> None:
        lines = folder.scores.read_bytes().split(b"\n")
        at = random.randrange(1, len(lines) - 1)
        cells = lines[at].split(b",")
        change(cells, random)
        lines[at] = b",".join(cells)
        folder.scores.write_bytes(b"\n".join(lines))

    return edit


def _set(column: int, *values: bytes) -> Callable[[RunFolder, Random], None]:
    return _row(lambda cells, random: cells.__setitem__(column, random.choice([each for each in values if each != cells[column]])))


def _drop(folder: RunFolder, random: Random) -> None:
    lines = folder.scores.read_bytes().split(b"\n")
    del lines[random.randrange(1, len(lines) - 1)]
    folder.scores.write_bytes(b"\n".join(lines))


def _double(folder: RunFolder, random: Random) -> None:
    lines = folder.scores.read_bytes().split(b"\n")
    at = random.randrange(1, len(lines) - 1)
    lines[at:at] = lines[at : at + 1]
    folder.scores.write_bytes(b"\n".join(lines))


def _cut(folder: RunFolder, random: Random) -> None:
    content = folder.scores.read_bytes()
    folder.scores.write_bytes(content[: random.randrange(len(content))])


def _without_member(folder: RunFolder, random: Random) -> None:
    lines = folder.scores.read_bytes().split(b"\n")
    folder.scores.write_bytes(b"\n".join(line for line in lines if not line.startswith(b"1,")))


def _described(name: str, *values: object) -> Callable[[RunFolder, Random], None]:
    def edit(folder: RunFolder, random: Random) -> None:
        spec = json.loads(folder.spec.read_text())
        spec[name] = random.choice([each for each in values if each != spec[name]])
        folder.spec.write_text(json.dumps(spec))

    return edit


def _copied(folder: RunFolder, random: Random) -> None:
    shutil.copytree(folder.path, folder.path.with_name(f"{random.randrange(16**8):016x}"))


def _failed(folder: RunFolder, random: Random) -> None:
    folder.mark_failed(FloatingPointError("the loss is nan"))


def _edited(folder: RunFolder, random: Random) -> None:
    folder.metrics.write_bytes(folder.metrics.read_bytes()[: -random.randrange(1, 99)])


EDITS: dict[str, Callable[[RunFolder, Random], None]] = {
    "a row is missing": _drop,
    "a row is there twice": _double,
    "the table is cut": _cut,
    "a member is missing": _without_member,
    "a score is another": _set(8, b"0.5", b"0.25"),
    "a score is no number": _set(8, b"nan", b"inf", b"-inf", b"x", b""),
    "a count of updates is another": _set(6, b"-1", b"99", b"7"),
    "a visit is another": _set(1, b"9", b"-1"),
    "a member is another": _set(0, b"1", b"0", b"7"),
    "a task is another": _set(2, b"other", b"<b>"),
    "a kind is another": _set(7, b"test", b"other"),
    "the label is another": _described("label", "nap", "none", "<script>"),
    "the seed is another": _described("seed", 1, 2),
    "the members are another number": _described("members", 1, 3, 4096),
    "the data is another": _described("fingerprint", "0", "1"),
    "it is called a control": _described("fresh_control", True, False),
    "it is not done": lambda folder, random: folder.done.unlink(),
    "it is done and failed": _failed,
    "diagnostics are edited": _edited,
    "the run is there twice": _copied,
}


def trials(folder: Path, random: Random) -> Iterator[Outcome]:
    """A set of three runs, one of which is spoilt in each way in turn."""
    twins, sound = Twins(folder), folder / "sound"
    sound.mkdir()
    for chain in CHAINS:
        code, said = run(twins.words(kinds()[chain], sound), folder / "log")
        assert code == 0, said
    expected = {line.what for line in load([sound]).missing}
    for name, edit in cycle(EDITS.items()):
        spoilt = folder / "spoilt"
        shutil.copytree(sound, spoilt)
        edit(random.choice(find_runs(spoilt)), random)
        try:
            named = {line.what for line in load([spoilt]).missing} - expected
            wrong = "" if named else "nothing was said"
        except UsageError as error:
            wrong = "" if "\n" not in str(error) else f"it said {str(error)!r}"
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        yield Outcome(not wrong, name + (f": {wrong}" if wrong else ""))
        shutil.rmtree(spoilt)


PROMISE = Promise("A report names what is wrong with its runs, or refuses them", "all", trials)
