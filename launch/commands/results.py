"""Commands that read runs: reports, comparisons, progress, and the networks of their checkpoints."""

from pathlib import Path
from typing import Annotated

import tyro

from launch.commands.options import DONE, FLAT, Plugins, allow, execution, settle
from launch.execution import Execution
from plasticity_rl.checks import UsageError
from plasticity_rl.records.folder import RunFolder


def report(
    folders: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="PATH [PATH ...]", help_behavior_hint="(required)")],
    /,
    *,
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: report/ in the first folder)")] = None,
    published: Annotated[
        tuple[str, ...],
        tyro.conf.UseAppendAction,
        tyro.conf.arg(metavar="[KIND:]PATH[,FIELD=VALUE,...]", help_behavior_hint="(repeatable)"),
    ] = (),
) -> int:
    """Write report.html, tables and figures of all runs below some folders, and print the verdicts.

    Args:
        folders: folders of runs
        out: folder of the page
        published: published scores to compare with: PATH is CSV with the columns source, label, measure, task, run, score;
            dopamine:PATH, rliable:PATH, monitor:PATH (of Stable-Baselines3) and wandb:PATH are files of these tools,
            `monitor:logs,label=PPO,task=Pong`; docs/report.md has their settings
    """
    _refuse_missing("report", folders)
    from rich.console import Console

    from analysis.report.page import terminal_table, write_report

    target = out or folders[0] / "report"
    written = write_report(folders, target, published)
    Console().print(terminal_table(written))
    print(f"\n{target / 'report.html'}")
    return DONE


def mechanisms(
    folders: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="PATH [PATH ...]", help_behavior_hint="(required)")],
    /,
    *,
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: mechanisms/ in the first folder)")] = None,
    predict: bool = False,
) -> int:
    """Write a page that shows which metrics changed before the score fell: units, norms, values, curvature and probes over visits.

    The fresh control's and an untrained network's values stand beside them, if metrics.csv has them. See docs/mechanisms.md.

    Args:
        folders: folders of runs; the fresh control's run should be among them
        out: folder of the page
        predict: add which quantities at the end of a visit predict the score of the next, by Spearman's rho
    """
    _refuse_missing("mechanisms", folders)
    from rich.console import Console

    from analysis.mechanisms.page import write_page

    page, parts = write_page(folders, out or folders[0] / "mechanisms", predict)
    console = Console(highlight=False)
    for part in parts:
        console.print(f"[bold]{part.name}[/]")
        for line in (*part.readings, *(f"missing: {line}" for line in part.missing)):
            console.print(line, markup=False)
    print(f"\n{page}")
    return DONE


def _refuse_missing(command: str, folders: tuple[Path, ...]) -> None:
    """Raise UsageError before the heavy imports unless all folders exist."""
    if not folders:
        raise UsageError(f"{command} needs a folder of runs")
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"no such folder: {folder}")


def compare(a: str, b: str, /, *, runs: Path = Path("runs")) -> int:
    """Compare two runs or chains, B with A, by intervals and a test; paired if members of both have the same seeds and data.

    Args:
        a: folder of a run or of several runs of one chain; or a chain's label, such as none
        b: the same, for the other side
        runs: folder in which labels are looked up
    """
    from analysis.compare import compare

    compare(a, b, runs)
    return DONE


def board(folder: Path, /, *, port: int = 6006) -> int:
    """Show the runs below a folder in TensorBoard, on 127.0.0.1 only, each under its benchmark, chain and seed.

    Args:
        folder: folder of runs; runs that begin later need a new call
        port: TCP port; 0 takes a free one
    """
    from launch.tracking.tensorboard import serve

    return serve(folder, port)


def rebuild_board(run: Path, /) -> int:
    """Rebuild the TensorBoard view of a run from its CSV files, if it is lost or damaged.

    Args:
        run: a run's folder, runs/NAME/KEY
    """
    from launch.tracking.tensorboard import rebuild

    rebuild(RunFolder(run))
    return DONE


def watch(folder: Path, /, *, once: bool = False, every: float = 2.0) -> int:
    """Watch all runs below a folder, on whichever machine they run: state, progress, speed, time left, last score.

    Reads only their files, of tables the last 64 KiB: damage before them is found by `report`. The last score is the mean over members
    of their newest rows; a report's scores are means over visits.

    Args:
        folder: folder of runs
        once: print the state once and exit
        every: seconds between two readings
    """
    if not 0.1 <= every <= 3600:
        raise UsageError(f"every must lie in [0.1, 3600], not {every:g}")
    from launch.run.watch import watch

    watch(folder, once, every)
    return DONE


def play(
    run: Path,
    /,
    *,
    member: int = 0,
    task: Annotated[str | None, tyro.conf.arg(metavar="STR", help_behavior_hint="(default: that of the checkpoint)")] = None,
    episodes: int = 1,
    checkpoint: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: the newest)")] = None,
    video: bool = False,
    steps: int = 4500,
    seed: int = 0,
    plugin: Plugins = (),
) -> int:
    """Play whole episodes with a member of a run, without learning, as evaluations do; print the returns and film them if asked.

    Videos go to RUN/videos as .mp4, .gif and a sheet of twelve frames (.png), and to Images in TensorBoard.

    Args:
        run: a run's folder, runs/NAME/KEY
        member: number of the network, from 0
        task: task to play
        episodes: number of episodes, side by side
        checkpoint: number of a checkpoint in RUN/checkpoints
        video: film the episodes
        steps: maximum steps of an episode; 4500 are five minutes of Atari
        seed: seed of the episodes and of the policy
        plugin: a module with parts of your own that the run uses
    """
    from launch.checkpoints.play import play

    allow(plugin)
    play(RunFolder(run), member, task, episodes, checkpoint, video, steps, seed)
    return DONE


def probe(
    run: Path,
    /,
    *,
    checkpoint: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: the newest)")] = None,
    targets: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[TARGET ...]", help_behavior_hint="(default: all)")] = (),
    updates: int = 2000,
    functions: int = 10,
    plugin: Plugins = (),
    how: Annotated[Execution, FLAT] = execution("device", "eager"),
) -> int:
    """Measure the trainability of a checkpoint: its networks and untrained ones learn new targets, with the run's optimizer and chain.

    Targets are random functions, a teacher network (of a policy and a value, also at the scale of their own outputs) and targets with a
    large offset, all on recent observations; on streams, also the next and the first task. The table also goes to RUN/probes as CSV; the
    run itself is unchanged. See docs/probes.md.

    Args:
        run: a run's folder, runs/NAME/KEY
        checkpoint: number of a checkpoint in RUN/checkpoints
        targets: targets of the copies: random, teacher, offset, scaled, next, first
        updates: updates per copy
        functions: number of targets of each of the kinds random, teacher, offset and scaled
        plugin: a module with parts of your own that the run uses
    """
    from launch.checkpoints.probe import probe

    allow(plugin)
    probe(RunFolder(run), checkpoint, targets, updates, functions, settle(how))
    return DONE
