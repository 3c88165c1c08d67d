"""Commands that train: one run, a sweep, the claims of papers, a search."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from analysis.format import count
from launch import process
from launch.commands.options import DONE, FLAT, ExperimentOptions, Plugins, Project, allow, execution, settle
from launch.commands.results import report
from launch.execution import Execution
from plasticity_rl.checks import UsageError
from plasticity_rl.records.folder import check_name

TunedOn = Literal["lifetime", "10%", "1%"]
"""rules of analysis.scores.tuning"""


def demo(*, runs: Path = Path("runs"), how: Annotated[Execution, FLAT] = execution("eager")) -> int:
    """Demonstrate the loss of plasticity and methods against it, from training to a report: CartPole under offsets, random labels on
    digits, and a moment of Breakout.

    Args:
        runs: folder of all runs; the demo's go to its folder `demo`, and a second call resumes them
    """
    from launch.run.store import Store
    from launch.run.sweep import run_sweep
    from launch.sweeps.demo import EXPERIMENTS

    failed = run_sweep(EXPERIMENTS, Store(runs, "demo"), settle(replace(how, device="cpu")))
    return failed or report((runs / "demo",))


def run(
    *,
    name: str,
    fields: Annotated[ExperimentOptions, FLAT] = ExperimentOptions(),
    file: Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(optional)")] = None,
    dry_run: bool = False,
    plugin: Plugins = (),
    runs: Path = Path("runs"),
    wandb: Project = None,
    own_control: bool = False,
    how: Annotated[Execution, FLAT] = execution("device", "eager", "deterministic", "other_code", "isolate", "patience", "address"),
) -> int:
    """Train one experiment in runs/NAME/KEY. The same command resumes an interrupted run and skips a finished one.

    A part is written as a word with settings, `redo:tau=0.1,every=500`; the command `show` lists the words, `show redo` the settings.

    Args:
        name: folder below the folder of runs; letters, digits, . _ -
        file: a TOML file with any of the fields below; the command line overrides it
        dry_run: print the difference that the members can see, and frames, hours and bytes, and write nothing
        plugin: a module with parts of your own, which are named as MODULE.CLASS
        runs: folder of all runs
        wandb: a Weights & Biases project that also logs the run
        own_control: also train the chain's own control, the same chain with a reset at every visit, by which reports measure how much
            plasticity it has kept; one run more, or none where tasks are alike and its first visit serves
    """
    from launch.config.parse import experiment, read_experiment

    check_name(name)
    allow(plugin)
    _refuse_without_wandb(wandb)
    words = (read_experiment(file) if file else {}) | fields.words()
    described = experiment(words, how.device)

    from launch.run import runner
    from launch.run.store import Store
    from launch.run.sweep import own_controls

    if dry_run:
        from launch.run.sweep import print_sweep

        print_sweep([words], Store(runs, name), settle(how))
        return DONE

    if how.address and not described.actors:
        raise UsageError("--address names the Ray cluster for actors; give their number with --actors")
    from launch.ray_cluster import reach

    reach(how.address)
    from launch.run import resources

    how, store = settle(how), Store(runs, name, wandb)
    controls = [experiment(each, how.device) for each in (own_controls([words], how.device) if own_control else [])]
    every = [described, *controls]
    resources.check([[each] for each in every if not store.run(each.key).is_done], store, how.device)
    if own_control and not controls:
        print("no run is added: the own control of this chain is its first visit, or it is a control itself")
    for each in every:
        folder, outcome = runner.run(each, store, how)
        print(f"{outcome}: {folder}")
    print(shlex.join([*process.program(), "report", str(store.run(described.key).path.parent)]))
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
    mirror: Annotated[str | None, tyro.conf.arg(metavar="URI", help_behavior_hint="(optional)")] = None,
    on: Literal["here", "ray"] = "here",
    own_control: bool = False,
    how: Annotated[Execution, FLAT] = execution(
        "device", "eager", "deterministic", "other_code", "at_once", "isolate", "patience", "address", "cpus", "gpus", "retries"
    ),
) -> int:
    """Run the experiments of a file: finished ones are skipped, interrupted ones resumed.

    In this process, supervised runs that differ only in seed, members, schedule and numbers of optimizer and chain are trained as one,
    many times faster than in sequence and with the same scores up to rounding; --dry-run shows which.

    Args:
        file: Python with EXPERIMENTS, a sequence of tables of words; TOML with [[experiments]]; or the name of a sweep of the project, such
            as demo or continual_control
        name: folder below the folder of runs
        dry_run: print the runs, the difference that their members can see, frames, hours and bytes, and write nothing; hours are
            extrapolated from some seconds of training
        plugin: a module with parts of your own
        runs: folder of all runs
        wandb: a Weights & Biases project that also logs the runs
        mirror: a bucket (s3://BUCKET/runs, gs://...) or absolute path; checkpoints copy runs there, and runs missing here are fetched
        on: runs in sequence in this process, or in parallel on a Ray cluster, which streams their rows back to this machine
        own_control: also train each chain's own control, the same chain with a reset at every visit, by which reports measure how much
            plasticity it has kept; one run more for each chain, none where tasks are alike and its first visit serves; --dry-run says
            how many
    """
    if name is not None:
        check_name(name)
    from launch.run.mirror import Mirror
    from launch.run.store import Store
    from launch.run.sweep import own_controls, print_sweep, read_sweep, run_sweep

    how = settle(how)
    allow(plugin)
    experiments = read_sweep(file)
    controls = own_controls(experiments, how.device_on_ray if on == "ray" else how.device) if own_control or dry_run else []
    experiments = [*experiments, *controls] if own_control else experiments
    if dry_run:
        print_sweep(experiments, Store(runs, name or file.stem), how)
        added = count(len(controls), "run")
        print(f"own controls: {f'{added} of these, which --own-control adds' if own_control else f'--own-control would add {added}'}")
        return DONE
    _refuse_without_wandb(wandb)
    store = Store(runs, name or file.stem, wandb, Mirror(mirror) if mirror is not None else None)
    if on == "here":
        code = run_sweep(experiments, store, how)
    else:
        from launch.ray_cluster import prepare_ray

        prepare_ray(how.address)
        from launch.cluster.sweep import run_described

        code = run_described(experiments, store, how)
    print(shlex.join([*process.program(), "report", str(store.path)]))
    return code


def claims(
    numbers: Annotated[tuple[int, ...], tyro.conf.arg(metavar="[N ...]", help_behavior_hint="(default: all)")] = (),
    /,
    *,
    scale: Literal["small", "paper", "published"] = "small",
    tuned_on: TunedOn = "lifetime",
    dry_run: bool = False,
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: with the runs)")] = None,
    runs: Path = Path("runs"),
    how: Annotated[Execution, FLAT] = execution("device", "eager", "other_code"),
) -> int:
    """Test claims of papers: choose settings on members of their own, report seven others per arm, and six more where these leave a part
    open; write a page with gates and verdicts.

    Runs go to runs/claims-SCALE; finished ones are skipped, interrupted ones resumed. The page has all claims tested so far.

    Args:
        numbers: numbers of claims
        scale: small fits two processor cores; paper uses the papers' settings as far as known; published has claims 12 to 14, a day each
        tuned_on: share of the life whose mean score chooses settings; the whole grid has runs of full length, which serve each
        dry_run: print the missing runs and their hours, and write nothing
        out: folder of the page, claims.md or of the scale and rule such as claims-paper-tuned-10.md, and its figures
        runs: folder of all runs
    """
    from launch.claims.run import print_claims, run_claims

    if dry_run:
        print_claims(numbers, scale, runs, settle(how))
        return DONE
    return run_claims(numbers, scale, tuned_on, runs, out, settle(how))


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
    tuned_on: TunedOn = "lifetime",
    scheduler: Literal["asha", "none"] = "asha",
    grace: Annotated[float | None, tyro.conf.arg(metavar="FLOAT", help_behavior_hint="(default: 2/3 for lifetime, else the share)")] = None,
    reduction: float = 4.0,
    best: int = 5,
    dry_run: bool = False,
    plugin: Plugins = (),
    runs: Path = Path("runs"),
    how: Annotated[Execution, FLAT] = execution(
        "eager", "deterministic", "other_code", "isolate", "patience", "address", "cpus", "gpus", "retries"
    ),
) -> int:
    """Search fields of an experiment at random, in parallel on Ray; trials with low scores are stopped early.

    In the file's table [search] or in --field, a range replaces a number, `constant:rate=1e-5..1e-2 log`, and | separates choices. The same
    command resumes an interrupted search; every trial is a run in runs/NAME/KEY.

    Args:
        file: TOML with the fields of an experiment and a table [search], whose fields are words with ranges, or lists of choices
        field: a field to search; replaces the file's
        name: folder below the folder of runs
        trials: number of trials
        seed: seed of the draw
        tuned_on: share of the budget whose mean score ranks the trials; the table shows the score of each
        scheduler: asha stops a trial whose score is not among the best at the same point of training; none finishes all trials
        grace: share of the budget that every trial gets
        reduction: factor between rungs; at each, one trial in this many continues
        best: number of trials printed, each with the command that repeats it
        dry_run: print the trials, and write nothing
        plugin: a module with parts of your own
        runs: folder of all runs
    """
    how = settle(how)
    shared = grace is None or 0 < grace <= 1
    if not (0 < trials <= 10_000 and 0 <= seed < 2**32 and shared and 1 < reduction <= 100 and 0 <= best <= 10_000):
        raise UsageError(
            "trials must lie in [1, 10000], seed in [0, 4294967295], grace in (0, 1], reduction in (1, 100], best in [0, 10000], "
            f"not {trials}, {seed}, {grace or 0:g}, {reduction:g}, {best}"
        )
    if name is not None:
        check_name(name)
    allow(plugin)
    from launch.ray_cluster import prepare_ray

    prepare_ray(how.address)
    from launch.cluster import tune
    from launch.run.store import Store

    said, search = tune.read_search(file, field)
    words = tune.draw(said, search, trials, seed)
    if dry_run:
        tune.print_trials(words, search)
        return DONE
    stopping = tune.Stopping(scheduler, tune.default_grace(tuned_on) if grace is None else grace, reduction)
    return tune.run(words, search, stopping, best, Store(runs, name or file.stem), how, tuned_on)


def _refuse_without_wandb(project: str | None) -> None:
    if project is not None:
        from launch.tracking.weights_and_biases import package

        package()
