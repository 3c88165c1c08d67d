"""`python -m launch`: from a command line to a command and an exit code. The commands themselves stand in commands/ and bench/."""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import tyro

from launch.bench.commands import BENCHES
from launch.commands import about, results, training
from plasticity_rl.checks import UsageError, choose

DONE, USAGE, TAKEN, LOST, DISK, NUMERIC = 0, 2, 3, 4, 5, 6


def bench() -> int:
    """Measure speed: `bench update` beside a plain loop, `bench train` beside the tools that people use, `bench interventions` with each
    method beside none, `bench statistics` beside rliable."""
    return _call(["bench"])


def cluster() -> int:
    """Ray clusters: `cluster token` makes what keeps them closed, `cluster check` says what one has. launch/cluster/ begins them."""
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
            about.show,
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
    # Read when torch starts. Threads that wait look again for microseconds, not for the milliseconds that OpenMP's GNU library takes from a
    # busy machine's processors; faster than to sleep at once.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _call(words)
    except UsageError as error:
        return _fail(USAGE, error)
    except FloatingPointError as error:
        return _fail(NUMERIC, error)
    except OSError as error:
        return _fail(DISK, error)
    except KeyboardInterrupt:
        return _fail(130, "stopped")
    except Exception as error:
        from agents.remote import ActorsLost
        from launch.runner import FolderTaken, Stopped

        if isinstance(error, ActorsLost):
            return _fail(LOST, error)
        if isinstance(error, FolderTaken):
            return _fail(TAKEN, error)
        if isinstance(error, Stopped):
            return _fail(128 + error.number, error)
        raise


def _call(words: list[str], commands: dict[str, Callable[..., int]] = COMMANDS, program: str = "python -m launch") -> int:
    """Parse a command line, then carry it out."""
    if commands is COMMANDS and words and words[0] in GROUPS:
        return _call(words[1:], GROUPS[words[0]], f"{program} {words[0]}")
    if words and words[0] in commands:
        flags = ["--" + name.replace("_", "-") for name in inspect.signature(commands[words[0]]).parameters]
        given = [word.partition("=")[0] for word in words[1:] if word.startswith("--")]
        for flag in given:
            choose("option", flag, [*flags, "--help"], f"`{program} {words[0]} --help` lists them")
            if given.count(flag) > 1 and flag not in ("--plugin", "--field"):
                raise UsageError(f"{flag} is given twice")
    elif words and not words[0].startswith("-"):
        choose("command", words[0], commands, f"`{program} --help` lists them")
    parse = functools.partial(
        tyro.extras.subcommand_cli_from_dict,
        {name: _later(command) for name, command in commands.items()},
        prog=program,
        description="Does my agent lose its ability to learn, why, and what keeps it?",
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
        parse()  # once more for the help that was asked for, to the terminal itself
        return DONE
    return chosen()


def _later(command: Callable[..., int]) -> Callable[..., Callable[[], int]]:
    """A function with the command's signature that only remembers what it was called with."""

    @functools.wraps(command)
    def remember(*positional: object, **named: object) -> Callable[[], int]:
        return functools.partial(command, *positional, **named)

    return remember


def _one_line(complaint: str) -> str:
    """What tyro has to say, without its title, its box and its advice: the first section."""
    sections: list[list[str]] = [[]]
    for line in complaint.splitlines()[1:]:
        text = line.strip(" │|╭╮╰╯+")
        if text and not text.strip("─-"):
            sections.append([])
        elif text:
            sections[-1].append(text)
    return " ".join(next((section for section in sections if section), ["the command line cannot be read"]))


def _fail(code: int, error: object) -> int:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
