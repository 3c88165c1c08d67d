"""Commands that train: one run, several, those that claims of papers need, a search."""

import functools
import shlex
from pathlib import Path
from typing import Annotated, Literal

import tyro

from launch.commands.options import DONE, Address, Count, Device, Plugins, Project, Words, allow, pick
from launch.commands.results import report
from plasticity_rl.checks import UsageError
from plasticity_rl.records.folder import is_done


def demo(*, runs: Path = Path("runs"), eager: bool = False) -> int:
    """Show the loss of plasticity and what keeps it, from nothing to a report: random labels on digits, then two Atari games in turn.

    Args:
        runs: folder of all runs; the demo's go to its folder `demo`, and a second call resumes or skips them
        eager: do not compile the update
    """
    from launch.run.store import Destination
    from launch.run.sweep import run_sweep
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
    address: Address = None,
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
        network: torso of the network; its precision=auto, an image torso's default, is what this machine is fast at, and recorded
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
    from launch.config.parse import experiment, read_experiment

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
    described = experiment(said | {field: value for field, value in given.items() if value is not None}, device)

    from launch.run import runner
    from launch.run.store import Destination

    if address and not described.actors:
        raise UsageError("--address is of the Ray cluster that actors run on; --actors says how many")
    from launch.ray_cluster import reach

    reach(address)
    from launch.run.resources import check

    train, to, where = functools.partial(runner.train_here, address=address), Destination(runs, name, wandb), pick(device)
    if not is_done(to.folder(described.key)):
        check([[described]], to, where)
    folder, outcome = runner.run(described, to, where, not eager, other_code, train)
    print(f"{outcome}: {folder}\n{shlex.join(['python', '-m', 'launch', 'report', str(folder.parent)])}")
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
    address: Address = None,
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
    from launch.run.mirror import Mirror
    from launch.run.store import Destination
    from launch.run.sweep import print_sweep, read_sweep, run_sweep, run_sweep_on_ray

    if not 0 < at_once <= 100_000:
        raise UsageError(f"at-once must lie in [1, 100000], not {at_once}")
    allow(plugin)
    experiments = read_sweep(file)
    if dry_run:
        print_sweep(experiments, Destination(runs, name or file.stem), at_once, pick(device), gpus, not eager)
        return DONE
    _refuse_without_wandb(wandb)
    to = Destination(runs, name or file.stem, wandb, Mirror(mirror) if mirror else None)
    if on == "ray":
        _check_shares(cpus, gpus, retries)
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
    from launch.claims.run import print_claims, run_claims

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
    address: Address = None,
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
    _check_shares(cpus, gpus, retries)
    if not (0 < trials <= 10_000 and 0 <= seed < 2**32 and 0 < grace <= 1 and 1 < reduction <= 100 and 0 <= best <= 10_000):
        raise UsageError(
            "trials must lie in [1, 10000], seed in [0, 4294967295], grace in (0, 1], reduction in (1, 100], best in [0, 10000], "
            f"not {trials}, {seed}, {grace:g}, {reduction:g}, {best}"
        )
    allow(plugin)
    from launch.ray_cluster import prepare_ray

    prepare_ray(address)
    from launch.cluster import tune
    from launch.run.store import Destination

    said, search = tune.read_search(file, field)
    words = tune.draw(said, search, trials, seed)
    if dry_run:
        tune.print_trials(words, search)
        return DONE
    stopping = tune.Stopping(scheduler, grace, reduction)
    on_ray = dict(compile=not eager, other_code=other_code, address=address, cpus=cpus, gpus=gpus, retries=retries)
    return tune.run(words, search, stopping, best, Destination(runs, name or file.stem), on_ray)


def _check_shares(cpus: float, gpus: float, retries: int) -> None:
    if not (0 < cpus <= 4096 and 0 <= gpus <= 64 and 0 <= retries <= 1000):
        raise UsageError(f"cpus must lie in (0, 4096], gpus in [0, 64], retries in [0, 1000], not {cpus:g}, {gpus:g}, {retries}")


def _refuse_without_wandb(project: str | None) -> None:
    if project is not None:
        from launch.tracking.weights_and_biases import package

        package()
