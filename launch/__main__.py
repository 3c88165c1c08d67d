"""`python -m launch`: run a command line, return its exit code. The commands are in commands/ and bench/."""

import errno
import functools
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import tyro

from launch import output, process
from launch.bench.commands import BENCHES
from launch.commands import about, results, training
from launch.commands.check import check
from launch.commands.data import data
from launch.commands.options import flags
from launch.signals import Signals, Stopped
from plasticity_rl import __version__
from plasticity_rl.checks import UsageError, choose
from plasticity_rl.records.folder import FolderTaken

DONE, USAGE, TAKEN, LOST, DISK, NUMERIC, MEMORY = 0, 2, 3, 4, 5, 6, 7
UNREAD = 141  # as shells count SIGPIPE


def bench() -> int:
    """Measure speed: `bench update` against a plain loop, `bench train` against common tools, `bench interventions` with and without each
    method, `bench statistics` against rliable."""
    return _call(["bench"])


def cluster() -> int:
    """Ray clusters: `cluster token` creates the token that protects them, `cluster check` lists the nodes; docs/cluster.md starts one."""
    return _call(["cluster"])


COMMANDS = {
    **{
        each.__name__: each
        for each in (
            training.demo,
            training.run,
            training.sweep,
            training.claims,
            training.tune,
            results.report,
            results.mechanisms,
            results.compare,
            results.board,
            results.watch,
            results.play,
            results.probe,
            check,
            about.show,
            data,
            about.interventions,
            about.doctor,
        )
    },
    "rebuild-board": results.rebuild_board,
    "bench": bench,
    "cluster": cluster,
}
GROUPS = {"bench": BENCHES, "cluster": {"check": about.cluster_check, "token": about.cluster_token}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code. A person's mistake is one line on stderr."""
    # Read when torch starts. Waiting OpenMP threads spin for microseconds before they sleep: GNU's default of milliseconds wastes a busy
    # machine's processors, and sleeping at once is slower.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    output.open_closed()
    warnings.formatwarning = lambda message, *_: f"warning: {' '.join(str(message).split())}\n"  # without file and line number
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        print(f"plasticity-rl {__version__}")
        return DONE
    try:
        if any("\0" in word for word in words):
            raise UsageError("a word of the command holds a byte of value 0")
        with Signals(at_once=True):
            code = _call(words)
        sys.stdout.flush()  # a full disk raises here, not as the interpreter exits
        return code
    except Stopped as error:
        return _fail(128 + error.number, error)
    except (Exception, SystemExit) as error:
        if output.reader_left(error):
            output.mute(sys.stdout, sys.stderr)
            return UNREAD
        if code := _code(error):
            return _fail(code, _message(error))
        raise


def _code(error: BaseException) -> int:
    """Return the exit code of an expected error; 0 for bugs, which end in a traceback."""
    if isinstance(error, UsageError | NotADirectoryError | IsADirectoryError) or _lacks(error):
        return USAGE
    if isinstance(error, FloatingPointError):
        return NUMERIC
    if _wants_memory(error):
        return MEMORY
    if isinstance(error, ConnectionError | TimeoutError):
        return LOST
    if isinstance(error, OSError):
        return DISK
    if any(
        _is(error, *each)
        for each in (
            ("agents.acting.messages", "ActorsLost"),
            ("envs.reinforcement.backends.pool", "EnvironmentFailed"),
            ("launch.ray_cluster", "NoCluster"),
            ("ray.exceptions", "RayError"),
        )
    ):
        return LOST
    if isinstance(error, FolderTaken):
        return TAKEN
    return 0


def _is(error: BaseException, module: str, name: str) -> bool:
    """True if the error has the named class; its module is slow to import, and is looked up only if already imported."""
    found = sys.modules.get(module)
    return found is not None and isinstance(error, getattr(found, name))


def _lacks(error: BaseException) -> str:
    """Name of the package that is not installed, such as one of the testbed's where only the extra `check` is; empty for other errors."""
    top = str(getattr(error, "name", None) or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return "" if top in ("plasticity_rl", "envs", "agents", "launch", "analysis") else top


def _wants_memory(error: BaseException) -> bool:
    """True if Python, the system or torch ran out of memory."""
    if isinstance(error, RuntimeError):  # torch has an out-of-memory class for GPUs only
        return bool(re.search("you tried to allocate|out of memory|ALLOC_FAILED", str(error)))
    return isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM


def _message(error: BaseException) -> object:
    """Return the error's message on one line."""
    if isinstance(error, NotADirectoryError | IsADirectoryError):
        return f"{error.filename} {'is a folder, not a file' if isinstance(error, IsADirectoryError) else 'does not lead through folders'}"
    if missing := _lacks(error):
        return f"this command needs the package {missing}, which is not installed: pip install 'plasticity-rl[testbed]'"
    if _wants_memory(error):
        asked = re.search(r"([Tt]ried|Unable) to allocate ([\d.]+ \w+)", str(error))
        return (
            f"not enough memory{f' for {asked[2]} more' if asked else ''}: a smaller replay= or batch_size=, or fewer --members, take less"
        )
    if _is(error, "ray.exceptions", "RayError"):  # the last line of a remote traceback
        return f"Ray: {(str(error).strip().splitlines() or [type(error).__name__])[-1]}"
    return str(error) or type(error).__name__


def _call(
    words: list[str],
    commands: dict[str, Callable[..., int]] = COMMANDS,
    program: str | None = None,
    purpose: str = "Does my agent lose its ability to learn, why, and what prevents it?",
) -> int:
    """Parse a command line, then carry it out."""
    program = program or " ".join(process.program())
    if commands is COMMANDS and words and words[0] in GROUPS:
        return _call(words[1:], GROUPS[words[0]], f"{program} {words[0]}", " ".join((COMMANDS[words[0]].__doc__ or "").split()))
    if words and words[0] in commands:
        known = [*flags(commands[words[0]]), "--help"]
        given = [word.partition("=")[0] for word in words[1:] if word.startswith("--")]
        for flag in given:
            choose("option", flag, known, f"`{program} {words[0]} --help` lists them")
            if given.count(flag) > 1 and flag not in ("--plugin", "--field", "--published"):
                raise UsageError(f"{flag} is given twice")
    elif words and not words[0].startswith("-"):
        choose("command", words[0], commands, f"`{program} --help` lists them")
    parse = functools.partial(
        tyro.extras.subcommand_cli_from_dict,
        {name: _later(command) for name, command in commands.items()},
        prog=program,
        description=purpose,
        args=words or ["--help"],
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    printed, complained = StringIO(), StringIO()
    try:
        with redirect_stdout(printed), redirect_stderr(complained):
            chosen = parse()
    except SystemExit as ended:
        if ended.code:
            raise UsageError(_one_line(complained.getvalue())) from None
        parse()  # parse again, so that requested help goes to the terminal
        return DONE
    return chosen()


def _later(command: Callable[..., int]) -> Callable[..., Callable[[], int]]:
    """Wrap a command so that a call returns it with its arguments, to be run later."""

    @functools.wraps(command)
    def remember(*positional: object, **named: object) -> Callable[[], int]:
        return functools.partial(command, *positional, **named)

    return remember


def _one_line(complaint: str) -> str:
    """Return tyro's complaint without its title, box and advice: the first section."""
    sections: list[list[str]] = [[]]
    for line in complaint.splitlines()[1:]:
        text = line.strip(" │|╭╮╰╯+")
        if text and not text.strip("─-"):
            sections.append([])
        elif text:
            sections[-1].append(text)
    return " ".join(next((section for section in sections if section), ["the command line cannot be read"]))


def _fail(code: int, error: object) -> int:
    try:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.stdout.flush()
    except OSError:  # no reader, or a full disk: the exit code says so
        output.mute(sys.stdout, sys.stderr)
    return code


def start() -> int:
    """Run the command line of this process."""
    process.speak_utf8()
    return main()


if __name__ == "__main__":
    sys.exit(start())
