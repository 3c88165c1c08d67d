"""What a person does with runs: each command of `python -m launch` is a function here. What is heavy is imported inside it."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from plasticity_rl.checks import UsageError

DONE = 0

Device = Literal["auto", "cpu", "cuda"]
Words = Annotated[str | None, tyro.conf.arg(metavar="WORD[:FIELD=VALUE,...]", help_behavior_hint="(default: the benchmark's)")]
Count = Annotated[str | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: the benchmark's)")]
Project = Annotated[str | None, tyro.conf.arg(metavar="PROJECT", help_behavior_hint="(optional)")]
Plugins = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="MODULE", help_behavior_hint="(repeatable)")]


def demo(*, runs: Path = Path("runs"), eager: bool = False) -> int:
    """Show the loss of plasticity and what keeps it, from nothing to a report: random labels on digits, then two Atari games in turn.

    Args:
        runs: folder of all runs; the demo's go to its folder `demo`, and a second call resumes or skips them
        eager: do not compile the update
    """
    from launch.destination import Destination
    from launch.sweep import run_sweep
    from launch.sweeps.demo import EXPERIMENTS

    failed = run_sweep(EXPERIMENTS, Destination(runs, "demo"), "cpu", not eager)
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
    curvature_every: Annotated[Count, tyro.conf.arg(help_behavior_hint="(default: 0)")] = None,
    probe_every: Annotated[Count, tyro.conf.arg(help_behavior_hint="(default: 0)")] = None,
    probe_updates: Annotated[Count, tyro.conf.arg(help_behavior_hint="(default: 2000)")] = None,
    checkpoint_every: Count = None,
    evaluate: Annotated[Count, tyro.conf.arg(help_behavior_hint="(default: 0)")] = None,
    actors: Annotated[Count, tyro.conf.arg(help_behavior_hint="(default: 0)")] = None,
    free_running: bool = False,
    address: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT", help_behavior_hint="(default: one is started here)")] = None,
    file: Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(optional)")] = None,
    plugin: Plugins = (),
    runs: Path = Path("runs"),
    wandb: Project = None,
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
        curvature_every: updates between two rows of curvature and other costly ones, as long as hundreds of updates; 0 is none
        probe_every: updates between two probes, which train copies of the networks beside untrained ones; 0 is never
        probe_updates: updates of a probe
        checkpoint_every: agent steps of one member between two checkpoints
        evaluate: whole episodes without learning at every checkpoint, of each member
        actors: processes on a Ray cluster that act for the learner; 0 acts in this one
        free_running: actors do not wait for each other or the learner; runs are then not repeatable
        address: of the Ray cluster whose processors the actors take; `auto` finds one on this machine
        file: a TOML file with any of the fields above; what the command line says counts more
        plugin: a module with methods of your own, which the chain names as MODULE.CLASS
        wandb: a project of Weights & Biases that the run is logged to as well
        runs: folder of all runs
        device: auto takes a GPU where there is one
        eager: do not compile the update
        other_code: go on with a run that other code began
    """
    from launch.words import experiment, read_experiment

    allow(plugin)
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
        curvature_every=curvature_every,
        probe_every=probe_every,
        probe_updates=probe_updates,
        checkpoint_every=checkpoint_every,
        evaluate=evaluate,
        actors=actors,
        free_running=free_running or None,
    )
    _refuse_without_wandb(wandb)
    described = experiment(said | {field: value for field, value in given.items() if value is not None})

    from launch import runner
    from launch.destination import Destination

    if address and not described.actors:
        raise UsageError("--address is of the Ray cluster that actors run on; --actors says how many")
    from launch.join import reach

    reach(address)
    train = functools.partial(runner.train_here, address=address)
    folder, outcome = runner.run(described, Destination(runs, name, wandb), pick(device), not eager, other_code, train)
    print(f"{outcome}: {folder}\npython -m launch report {folder.parent}")
    return DONE


def sweep(
    file: Path,
    /,
    *,
    name: Annotated[str | None, tyro.conf.arg(metavar="STR", help_behavior_hint="(default: the file's)")] = None,
    dry_run: bool = False,
    plugin: Plugins = (),
    runs: Path = Path("runs"),
    wandb: Project = None,
    device: Device = "auto",
    eager: bool = False,
    at_once: int = 256,
    on: Literal["here", "ray"] = "here",
    address: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT", help_behavior_hint="(default: one is started here)")] = None,
    cpus: float = 1.0,
    gpus: float = 0.0,
    retries: int = 3,
    mirror: Annotated[str | None, tyro.conf.arg(metavar="URI", help_behavior_hint="(optional)")] = None,
    other_code: bool = False,
) -> int:
    """Carry out the experiments of a file: done ones are skipped, unfinished ones resumed.

    In this process, supervised runs that differ in seed, members, schedule and numbers of optimizer and chain alone are trained as one,
    many times faster than one after the other and with the same scores up to rounding; --dry-run shows which.

    Args:
        file: Python with EXPERIMENTS, a sequence of tables of words, or TOML with [[experiments]]
        name: folder below the folder of runs
        dry_run: print what would run, how many frames, hours and bytes that takes, and write nothing; hours by playing some seconds
        plugin: a module with methods of your own
        runs: folder of all runs
        wandb: a project of Weights & Biases that the runs are logged to as well
        device: auto takes a GPU where there is one
        eager: do not compile the updates
        at_once: about how many members are trained as one in this process; 1 trains every run by itself
        on: one run after the other in this process, or side by side on a Ray cluster, whose runs stream what they report back here
        address: of the Ray cluster that is joined; `auto` finds one on this machine
        cpus: processors of each run on Ray
        gpus: GPUs of each run on Ray, or a share of one
        retries: how often a run on Ray that lost its worker is begun again from its last checkpoint
        mirror: a bucket (s3://BUCKET/runs, gs://...) or absolute path where runs are copied at every checkpoint, and fetched from where
            they are not here
        other_code: go on with runs that other code began
    """
    from launch.destination import Destination
    from launch.mirror import Mirror
    from launch.sweep import print_sweep, read_sweep, run_sweep, run_sweep_on_ray

    if not 0 < at_once <= 100_000:
        raise UsageError(f"at-once must lie in [1, 100000], not {at_once}")
    allow(plugin)
    experiments = read_sweep(file)
    if dry_run:
        print_sweep(experiments, Destination(runs, name or file.stem), at_once, pick(device), gpus)
        return DONE
    _refuse_without_wandb(wandb)
    to = Destination(runs, name or file.stem, wandb, Mirror(mirror) if mirror else None)
    if on == "ray":
        if not (0 < cpus <= 4096 and 0 <= gpus <= 64 and 0 <= retries <= 1000):
            raise UsageError(f"cpus must lie in (0, 4096], gpus in [0, 64], retries in [0, 1000], not {cpus:g}, {gpus:g}, {retries}")
        return run_sweep_on_ray(experiments, to, not eager, other_code, address, cpus, gpus, retries)
    return run_sweep(experiments, to, pick(device), not eager, other_code, at_once)


def claims(
    numbers: Annotated[tuple[int, ...], tyro.conf.arg(metavar="[N ...]", help_behavior_hint="(default: all)")] = (),
    /,
    *,
    scale: Literal["small", "paper"] = "small",
    dry_run: bool = False,
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: with the runs)")] = None,
    runs: Path = Path("runs"),
    device: Device = "auto",
    eager: bool = False,
    other_code: bool = False,
) -> int:
    """Try claims of papers: choose settings on the first tenth of the tasks, train ten other members an arm, write a page with verdicts.

    Runs go to runs/claims-SCALE; done ones are skipped, unfinished ones resumed. The page holds every claim that has run so far.

    Args:
        numbers: of the claims
        scale: small is for two processor cores, paper has the papers' settings as far as they are known
        dry_run: say what would run, and write nothing
        out: folder of claims.md and its figures
        runs: folder of all runs
        device: auto takes a GPU where there is one
        eager: do not compile the updates
        other_code: go on with runs that other code began
    """
    from launch.claims import print_claims, run_claims

    if dry_run:
        print_claims(numbers, scale, runs)
        return DONE
    return run_claims(numbers, scale, runs, out, pick(device), not eager, other_code)


def tune(
    file: Path,
    /,
    *,
    field: Annotated[
        tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="FIELD=WORDS", help_behavior_hint="(repeatable)")
    ] = (),
    name: Annotated[str | None, tyro.conf.arg(metavar="STR", help_behavior_hint="(default: the file's)")] = None,
    trials: int = 16,
    seed: int = 0,
    scheduler: Literal["asha", "none"] = "asha",
    grace: float = 0.1,
    reduction: float = 4.0,
    best: int = 5,
    dry_run: bool = False,
    plugin: Plugins = (),
    runs: Path = Path("runs"),
    eager: bool = False,
    address: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT", help_behavior_hint="(default: one is started here)")] = None,
    cpus: float = 1.0,
    gpus: float = 0.0,
    retries: int = 3,
    other_code: bool = False,
) -> int:
    """Search fields of an experiment at random, side by side on Ray; trials that fall behind as scores come in are stopped early.

    A range stands where a number would, `constant:rate=1e-5..1e-2 log`, in the file's table [search] or in --field, where | parts choices.
    The same command goes on with an interrupted search; every trial is a run in runs/NAME/KEY.

    Args:
        file: TOML with the fields of an experiment and a table [search], whose fields are words with ranges, or lists of choices
        field: a field to search, in the place of the file's
        name: folder below the folder of runs
        trials: how many are drawn
        seed: what they are drawn by
        scheduler: asha stops a trial whose score so far is not among the best at the same time; none lets all run to their end
        grace: share of the budget that every trial is given
        reduction: one in so many goes on at each rung, and rungs lie so many times further apart
        best: how many are printed with the words to run them again
        dry_run: print the trials, and write nothing
        plugin: a module with methods of your own
        runs: folder of all runs
        eager: do not compile the updates
        address: of the Ray cluster that is joined; `auto` finds one on this machine
        cpus: processors of each trial
        gpus: GPUs of each trial, or a share of one
        retries: how often a trial that lost its worker is begun again from its last checkpoint
        other_code: go on with trials that other code began
    """
    if not (0 < cpus <= 4096 and 0 <= gpus <= 64 and 0 <= retries <= 1000):
        raise UsageError(f"cpus must lie in (0, 4096], gpus in [0, 64], retries in [0, 1000], not {cpus:g}, {gpus:g}, {retries}")
    if not (0 < trials <= 10_000 and 0 <= seed < 2**32 and 0 < grace <= 1 and 1 < reduction <= 100 and 0 <= best <= 10_000):
        raise UsageError(
            "trials must lie in [1, 10000], seed in [0, 4294967295], grace in (0, 1], reduction in (1, 100], best in [0, 10000], "
            f"not {trials}, {seed}, {grace:g}, {reduction:g}, {best}"
        )
    allow(plugin)
    from launch.join import prepare_ray

    prepare_ray(address)
    from launch import tune
    from launch.destination import Destination

    said, search = tune.read_search(file, field)
    words = tune.draw(said, search, trials, seed)
    if dry_run:
        tune.print_trials(words, search)
        return DONE
    stopping = tune.Stopping(scheduler, grace, reduction)
    on_ray = dict(compile=not eager, other_code=other_code, address=address, cpus=cpus, gpus=gpus, retries=retries)
    return tune.run(words, search, stopping, best, Destination(runs, name or file.stem), on_ray)


def report(
    folders: tuple[Path, ...],
    /,
    *,
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: report/ in the first folder)")] = None,
    theirs: Annotated[Path | None, tyro.conf.arg(metavar="CSV", help_behavior_hint="(optional)")] = None,
) -> int:
    """Write report.html, with its tables and figures, of all runs below some folders, and print its verdicts.

    Args:
        folders: folders of runs
        out: where to write
        theirs: other people's scores to stand beside, a file of columns source, label, measure, task, run, score
    """
    from rich.console import Console

    from analysis.report import terminal_table, write_report

    if not folders:
        raise UsageError("report needs a folder of runs")
    target = out or folders[0] / "report"
    written = write_report(folders, target, theirs)
    Console().print(terminal_table(written))
    print(f"\n{target / 'report.html'}")
    return DONE


def mechanisms(
    folders: tuple[Path, ...],
    /,
    *,
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: mechanisms/ in the first folder)")] = None,
) -> int:
    """What moved inside the networks before their score fell? Units, norms, values, curvature and probes over visits, as a page.

    Each stands beside the fresh control's and an untrained network's, as far as metrics.csv reports it. See docs/mechanisms.md.

    Args:
        folders: folders of runs; the fresh control's run should be among them
        out: where to write
    """
    from rich.console import Console

    from analysis.mechanism_page import write_page

    if not folders:
        raise UsageError("mechanisms needs a folder of runs")
    page, parts = write_page(folders, out or folders[0] / "mechanisms")
    console = Console(highlight=False)
    for part in parts:
        console.print(f"[bold]{part.name}[/]")
        for line in (*part.readings, *(f"missing: {line}" for line in part.missing)):
            console.print(line, markup=False)
    print(f"\n{page}")
    return DONE


def compare(a: str, b: str, /, *, runs: Path = Path("runs")) -> int:
    """Is B better than A, by how much, and how sure is that? Paired where both have members of the same seeds on the same data.

    Args:
        a: folder of a run, or of several of one chain; or the label of a chain, such as none
        b: the other one
        runs: folder of the runs whose chains are named by label
    """
    from launch.compare import compare

    compare(a, b, runs)
    return DONE


def board(folder: Path, /, *, port: int = 6006) -> int:
    """Show the runs below a folder in TensorBoard, on 127.0.0.1 alone, each under its benchmark, chain and seed.

    Args:
        folder: folder of runs; those begun later are shown by the next call
        port: TCP port; 0 takes a free one
    """
    from launch.board import serve

    return serve(folder, port)


def rebuild_board(run: Path, /) -> int:
    """Make TensorBoard's view of a run anew from its CSV files, where it was lost or is broken.

    Args:
        run: a run's folder, runs/NAME/KEY
    """
    from launch.board import rebuild

    rebuild(run)
    return DONE


def watch(folder: Path, /, *, once: bool = False, every: float = 2.0) -> int:
    """Watch the runs below a folder from their files alone, wherever they are carried out: state, progress, score, speed, time left.

    Args:
        folder: folder of runs
        once: print how they are now, and stop
        every: seconds between two looks
    """
    if not 0.1 <= every <= 3600:
        raise UsageError(f"every must lie in [0.1, 3600], not {every:g}")
    from launch.watch import watch

    watch(folder, once, every)
    return DONE


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
    plugin: Plugins = (),
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
        plugin: a module with methods of your own that the run has
    """
    from launch.play import play

    allow(plugin)
    play(run, member, task, episodes, checkpoint, video, steps, seed)
    return DONE


def probe(
    run: Path,
    /,
    *,
    checkpoint: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: the newest)")] = None,
    targets: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[TARGET ...]", help_behavior_hint="(default: all that there are)")] = (),
    updates: int = 2000,
    functions: int = 10,
    plugin: Plugins = (),
    device: Device = "auto",
    eager: bool = False,
) -> int:
    """How trainable is a checkpoint? Copies of its networks learn something new beside untrained ones, by the run's own rule.

    Targets are random functions, a teacher network and targets with a large offset, all on recent observations, and on streams the next
    and the first task. The table goes to RUN/probes as a CSV file too; the run itself is left as it is. See docs/probes.md.

    Args:
        run: a run's folder, runs/NAME/KEY
        checkpoint: number of one in RUN/checkpoints
        targets: what is learned: random, teacher, offset, next, first
        updates: of each copy
        functions: how many are drawn of random, teacher and offset each
        plugin: a module with methods of your own that the run has
        device: auto takes a GPU where there is one
        eager: do not compile the updates
    """
    from launch.probe import probe

    allow(plugin)
    probe(run, checkpoint, targets, updates, functions, pick(device), not eager)
    return DONE


def show(word: str | None = None, /, *, plugin: Plugins = ()) -> int:
    """List every benchmark, agent, network, optimizer, schedule and method; or, for a word, what it is and its settings.

    Args:
        word: one of the words
        plugin: a module with methods of your own
    """
    from launch.show import print_all, print_page

    allow(plugin)
    if word is None:
        print_all()
    else:
        print_page(word)
    return DONE


def interventions(word: str | None = None, /, *, markdown: bool = False, plugin: Plugins = ()) -> int:
    """List every method: the moments it uses, what it needs, its paper and its idea; or, for one of them, all that is said of it.

    Args:
        word: one of the methods
        markdown: print the table of all methods for a README
        plugin: a module with methods of your own
    """
    if word is not None and markdown:
        raise UsageError("--markdown prints all methods; leave the word out")
    from launch.interventions import print_all, print_markdown, print_page

    allow(plugin)
    if word is not None:
        print_page(word)
    elif markdown:
        print_markdown()
    else:
        print_all()
    return DONE


def doctor() -> int:
    """Say what this machine has of what the project needs."""
    from launch.doctor import examine

    return examine()


def cluster_check(
    *,
    address: Annotated[str, tyro.conf.arg(metavar="HOST:PORT")] = "auto",
    open: bool = False,
) -> int:
    """Say what a Ray cluster has, whether it asks for a token, and which versions its nodes have beside this machine.

    Args:
        address: where; `auto` finds one on this machine
        open: look at one that lets everybody in, too
    """
    from launch.cluster_check import examine

    return examine(address, open)


def cluster_token() -> int:
    """Make the token of Ray clusters, ~/.ray/auth_token, where there is none, and see that nobody else can read it."""
    from launch.cluster_check import make_token

    return make_token()


def _refuse_without_wandb(project: str | None) -> None:
    if project is not None:
        from launch.weights_and_biases import package

        package()


def allow(modules: Sequence[str]) -> None:
    from plasticity_rl import plugins

    plugins.allow(modules)


def pick(wanted: Device) -> str:
    """The device that is meant. Raises UsageError where it is not there."""
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise UsageError("no CUDA device was found; --device cpu or auto")
    return wanted if wanted != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
