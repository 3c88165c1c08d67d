"""Commands that read runs: reports, comparisons, progress, and the networks of their checkpoints."""

from pathlib import Path
from typing import Annotated

import tyro

from launch.commands.options import DONE, FLAT, Plugins, allow, execution, settle
from launch.execution import Execution
from plasticity_rl.checks import UsageError
from plasticity_rl.records.folder import RunFolder


def report(
    folders: tuple[Path, ...],
    /,
    *,
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: report/ in the first folder)")] = None,
    published: Annotated[
        tuple[str, ...],
        tyro.conf.UseAppendAction,
        tyro.conf.arg(metavar="[KIND:]PATH[,FIELD=VALUE,...]", help_behavior_hint="(repeatable)"),
    ] = (),
) -> int:
    """Write report.html, with its tables and figures, of all runs below some folders, and print its verdicts.

    Args:
        folders: folders of runs
        out: folder of the page
        published: other people's scores to stand beside: PATH is CSV of the columns source, label, measure, task, run, score;
            dopamine:PATH, rliable:PATH, monitor:PATH (of Stable-Baselines3) and wandb:PATH are their own files,
            `monitor:logs,label=PPO,task=Pong`; docs/report.md has their settings
    """
    from rich.console import Console

    from analysis.report.page import terminal_table, write_report

    if not folders:
        raise UsageError("report needs a folder of runs")
    target = out or folders[0] / "report"
    written = write_report(folders, target, published)
    Console().print(terminal_table(written))
    print(f"\n{target / 'report.html'}")
    return DONE


def mechanisms(
    folders: tuple[Path, ...],
    /,
    *,
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: mechanisms/ in the first folder)")] = None,
) -> int:
    """Show which metrics moved before the score fell: units, norms, values, curvature and probes over visits, as a page.

    Each stands beside the fresh control's and an untrained network's, as far as metrics.csv reports it. See docs/mechanisms.md.

    Args:
        folders: folders of runs; the fresh control's run should be among them
        out: folder of the page
    """
    from rich.console import Console

    from analysis.mechanisms.page import write_page

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
    """Compare B with A, with intervals and a test; paired if both have members of the same seeds on the same data.

    Args:
        a: folder of a run, or of several of one chain; or the label of a chain, such as none
        b: the other one
        runs: folder of the runs whose chains are named by label
    """
    from analysis.compare import compare

    compare(a, b, runs)
    return DONE


def board(folder: Path, /, *, port: int = 6006) -> int:
    """Show the runs below a folder in TensorBoard, on 127.0.0.1 alone, each under its benchmark, chain and seed.

    Args:
        folder: folder of runs; those begun later are shown by the next call
        port: TCP port; 0 takes a free one
    """
    from launch.tracking.tensorboard import serve

    return serve(folder, port)


def rebuild_board(run: Path, /) -> int:
    """Make TensorBoard's view of a run anew from its CSV files, where it was lost or is broken.

    Args:
        run: a run's folder, runs/NAME/KEY
    """
    from launch.tracking.tensorboard import rebuild

    rebuild(RunFolder(run))
    return DONE


def watch(folder: Path, /, *, once: bool = False, every: float = 2.0) -> int:
    """Watch the runs below a folder from their files alone, wherever they are carried out: state, progress, speed, time left, last score.

    The last score is the mean over members of what each scored in its newest row; a report's scores are means over visits.

    Args:
        folder: folder of runs
        once: print their state once, and stop
        every: seconds between two looks
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
        member: number of the network, from 0
        task: task to play
        episodes: number of episodes, side by side
        checkpoint: number of a checkpoint in RUN/checkpoints
        video: film them
        steps: maximum steps of an episode; 4500 are five minutes of Atari
        seed: seed of the episodes' starts and of the policy
        plugin: a module with parts of your own that the run has
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
    targets: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[TARGET ...]", help_behavior_hint="(default: all that there are)")] = (),
    updates: int = 2000,
    functions: int = 10,
    plugin: Plugins = (),
    how: Annotated[Execution, FLAT] = execution("device", "eager"),
) -> int:
    """Measure how trainable a checkpoint is: copies of its networks learn new targets beside untrained ones, by the run's own rule.

    Targets are random functions, a teacher network and targets with a large offset, all on recent observations, and on streams the next
    and the first task. The table goes to RUN/probes as a CSV file too; the run itself is left as it is. See docs/probes.md.

    Args:
        run: a run's folder, runs/NAME/KEY
        checkpoint: number of a checkpoint in RUN/checkpoints
        targets: targets of the copies: random, teacher, offset, next, first
        updates: updates of each copy
        functions: number of functions of each of random, teacher and offset
        plugin: a module with parts of your own that the run has
    """
    from launch.checkpoints.probe import probe

    allow(plugin)
    probe(RunFolder(run), checkpoint, targets, updates, functions, settle(how))
    return DONE
