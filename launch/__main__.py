"""`python -m launch`: everything a person does with the project. Each command is a function here; what is heavy is imported inside it."""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Annotated, Literal

import tyro

from plasticity_rl.checks import UsageError, choose

DONE, USAGE, TAKEN, DISK, NUMERIC = 0, 2, 3, 5, 6

Device = Literal["auto", "cpu", "cuda"]
Words = Annotated[str | None, tyro.conf.arg(metavar="WORD[:FIELD=VALUE,...]", help_behavior_hint="(default: the benchmark's)")]
Count = Annotated[str | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: the benchmark's)")]


def demo(*, runs: Path = Path("runs"), eager: bool = False) -> int:
    """Show the loss of plasticity and what keeps it, from nothing to a report: random labels on digits, then two Atari games in turn.

    Args:
        runs: folder of all runs; the demo's go to its folder `demo`, and a second call resumes or skips them
        eager: do not compile the update
    """
    from launch.sweep import run_sweep
    from launch.sweeps.demo import EXPERIMENTS

    failed = run_sweep(EXPERIMENTS, runs, "demo", "cpu", not eager)
    return failed or report((runs / "demo",))


def run(
    *,
    name: str,
    benchmark: Annotated[Words, tyro.conf.arg(help_behavior_hint="(default: random-labels)")] = None,
    agent: Words = None,
    network: Words = None,
    optimizer: Words = None,
    schedule: Words = None,
    chain: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="[METHOD ...]", help_behavior_hint="(default: none)")] = None,
    members: Annotated[Count, tyro.conf.arg(help_behavior_hint="(default: 5)")] = None,
    seed: Annotated[Count, tyro.conf.arg(help_behavior_hint="(default: 0)")] = None,
    diagnose_every: Count = None,
    checkpoint_every: Count = None,
    evaluate: Annotated[Count, tyro.conf.arg(help_behavior_hint="(default: 0)")] = None,
    file: Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(optional)")] = None,
    runs: Path = Path("runs"),
    device: Device = "auto",
    eager: bool = False,
    other_code: bool = False,
) -> int:
    """Train one experiment in runs/NAME/KEY. The same command goes on with an interrupted run and skips a finished one.

    A part is written as a word with settings, `redo:tau=0.1,every=500`; `python -m launch show` lists the words, `show redo` the settings.

    Args:
        name: folder below the folder of runs; letters, digits, . _ -
        benchmark: what is learned from
        agent: how it is learned
        network: torso of the network
        optimizer: optimizer
        schedule: learning rate as a function of updates
        chain: interventions, in order
        members: independent networks trained side by side
        seed: 0 to 2147483647; members, data and environments derive theirs from it
        diagnose_every: updates between two rows of diagnostics
        checkpoint_every: agent steps of one member between two checkpoints
        evaluate: whole episodes without learning at every checkpoint, of each member
        file: a TOML file with any of the fields above; what the command line says counts more
        runs: folder of all runs
        device: auto takes a GPU where there is one
        eager: do not compile the update
        other_code: go on with a run that other code began
    """
    from launch.words import experiment, read_experiment

    said = read_experiment(file) if file else {}
    given = dict(
        benchmark=benchmark,
        agent=agent,
        network=network,
        optimizer=optimizer,
        schedule=schedule,
        chain=chain,
        members=members,
        seed=seed,
        diagnose_every=diagnose_every,
        checkpoint_every=checkpoint_every,
        evaluate=evaluate,
    )
    described = experiment(said | {field: value for field, value in given.items() if value is not None})

    from launch import runner

    folder, outcome = runner.run(described, runs, name, _device(device), not eager, other_code)
    print(f"{outcome}: {folder}\npython -m launch report {folder.parent}")
    return DONE


def sweep(
    file: Path,
    /,
    *,
    name: Annotated[str | None, tyro.conf.arg(metavar="STR", help_behavior_hint="(default: the file's)")] = None,
    dry_run: bool = False,
    runs: Path = Path("runs"),
    device: Device = "auto",
    eager: bool = False,
    other_code: bool = False,
) -> int:
    """Carry out the experiments of a file, one after the other: done ones are skipped, unfinished ones resumed.

    Args:
        file: Python with EXPERIMENTS, a sequence of tables of words, or TOML with [[experiments]]
        name: folder below the folder of runs
        dry_run: print what would run, and write nothing
        runs: folder of all runs
        device: auto takes a GPU where there is one
        eager: do not compile the updates
        other_code: go on with runs that other code began
    """
    from launch.sweep import print_sweep, read_sweep, run_sweep

    experiments = read_sweep(file)
    if dry_run:
        print_sweep(experiments, runs, name or file.stem)
        return DONE
    return run_sweep(experiments, runs, name or file.stem, _device(device), not eager, other_code)


def report(
    folders: tuple[Path, ...],
    /,
    *,
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: report/ in the first folder)")] = None,
) -> int:
    """Write report.html, with its tables and figures, of all runs below some folders, and print its verdicts.

    Args:
        folders: folders of runs
        out: where to write
    """
    from rich.console import Console

    from analysis.report import terminal_table, write_report

    if not folders:
        raise UsageError("report needs a folder of runs")
    target = out or folders[0] / "report"
    written = write_report(folders, target)
    Console().print(terminal_table(written))
    print(f"\n{target / 'report.html'}")
    return DONE


def board(folder: Path, /, *, port: int = 6006) -> int:
    """Show the runs below a folder in TensorBoard, on 127.0.0.1 alone, each under its benchmark, chain and seed.

    Args:
        folder: folder of runs; those begun later are shown by the next call
        port: TCP port; 0 takes a free one
    """
    from launch.board import serve

    return serve(folder, port)


def play(
    run: Path,
    /,
    *,
    member: int = 0,
    task: Annotated[str | None, tyro.conf.arg(metavar="STR", help_behavior_hint="(default: the one it was learning)")] = None,
    episodes: int = 1,
    checkpoint: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: the newest)")] = None,
    video: bool = False,
    steps: int = 4500,
    seed: int = 0,
) -> int:
    """Let a member of a run play whole episodes as evaluations do, without learning, and film it.

    A video goes to RUN/videos as .mp4, .gif and a sheet of twelve pictures (.png), and under Images in TensorBoard.

    Args:
        run: a run's folder, runs/NAME/KEY
        member: which of the networks, from 0
        task: what to play
        episodes: how many, side by side
        checkpoint: number of one in RUN/checkpoints
        video: film them
        steps: the most in an episode; 4500 are five minutes of Atari
        seed: of the episodes' starts and of the policy's chance
    """
    from launch.play import play

    play(run, member, task, episodes, checkpoint, video, steps, seed)
    return DONE


def show(word: str | None = None, /) -> int:
    """List every benchmark, agent, network, optimizer, schedule and method; or, for a word, what it is and its settings.

    Args:
        word: one of the words
    """
    from launch.show import print_all, print_page

    if word is None:
        print_all()
    else:
        print_page(word)
    return DONE


def doctor() -> int:
    """Say what this machine has of what the project needs."""
    from launch.doctor import examine

    return examine()


def bench_update(*, seconds: float = 2.0) -> int:
    """Measure ms per update for S members, eager and compiled, beside a plain loop, interleaved in the same process.

    Args:
        seconds: time of one measured window
    """
    if not 0 < seconds < 3600:
        raise UsageError(f"seconds must lie in (0, 3600), not {seconds}")
    from launch.bench.update import measure

    measure(seconds)
    return DONE


def bench_train(
    *,
    agents: tuple[Literal["ppo", "pqn", "dqn", "rainbow"], ...] = ("ppo", "pqn", "dqn", "rainbow"),
    cleanrl: Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: leave it out)")] = None,
    seconds: float = 10.0,
    rounds: int = 5,
    peers: Path = Path("~/.cache/plasticity-rl/peers"),
) -> int:
    """Measure agent steps a second on Breakout beside Stable-Baselines3, RLlib, Sample Factory and CleanRL, in windows that take turns.

    Each of them is installed with pip, once, into an environment of its own.

    Args:
        agents: which to compare
        cleanrl: a checkout of CleanRL
        seconds: least time of one measured window
        rounds: windows of each
        peers: folder of the others' environments, a few GB
    """
    if not 0 < seconds < 3600:
        raise UsageError(f"seconds must lie in (0, 3600), not {seconds}")
    if not 0 < rounds <= 1000:
        raise UsageError(f"rounds must lie in [1, 1000], not {rounds}")
    if not agents or len(set(agents)) < len(agents):
        raise UsageError("agents must name at least one, each once")
    from launch.bench.train import measure

    measure(agents, cleanrl and cleanrl.expanduser().resolve(), seconds, rounds, peers.expanduser().resolve())
    return DONE


def bench() -> int:
    """Measure speed: `bench update` beside a plain loop, `bench train` beside the tools that people use."""
    return _call(["bench"])


COMMANDS = {each.__name__: each for each in (demo, run, sweep, report, board, play, show, doctor, bench)}
BENCHES = {"update": bench_update, "train": bench_train}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code. A person's mistake is one line on stderr."""
    # Read when torch starts. Threads that wait look again for microseconds, not for the milliseconds that OpenMP's GNU library takes from a
    # busy machine's processors; a fifth faster than to sleep at once.
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
        from launch.runner import FolderTaken, Stopped

        if isinstance(error, FolderTaken):
            return _fail(TAKEN, error)
        if isinstance(error, Stopped):
            return _fail(128 + error.number, error)
        raise


def _call(words: list[str], commands: dict[str, Callable[..., int]] = COMMANDS, program: str = "python -m launch") -> int:
    """Parse a command line, then carry it out."""
    if commands is COMMANDS and words[:1] == ["bench"]:
        return _call(words[1:], BENCHES, f"{program} bench")
    if words and words[0] in commands:
        flags = ["--" + name.replace("_", "-") for name in inspect.signature(commands[words[0]]).parameters]
        given = [word.partition("=")[0] for word in words[1:] if word.startswith("--")]
        for flag in given:
            choose("option", flag, [*flags, "--help"])
            if given.count(flag) > 1:
                raise UsageError(f"{flag} is given twice")
    elif words and not words[0].startswith("-"):
        choose("command", words[0], commands)
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


def _device(wanted: Device) -> str:
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise UsageError("no CUDA device was found; --device cpu or auto")
    return wanted if wanted != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    sys.exit(main())
