"""The commands of `python -m launch bench`: each measures one thing and prints a table. Heavy modules are imported inside them."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from launch.commands.options import DONE, Plugins, allow, pick
from launch.execution import Device
from launch.process import listed
from plasticity_rl.checks import UsageError, choose
from plasticity_rl.experiment import MAX_SEED
from plasticity_rl.records.folder import refuse_file

BROKEN = 1
"""exit code if a promise did not hold"""


def bench_update(*, seconds: float = 2.0) -> int:
    """Measure ms per update for S members, eager and compiled, beside a plain loop, interleaved in the same process.

    Args:
        seconds: time of one measured window
    """
    _check_seconds(seconds)
    from launch.bench.update import measure

    measure(seconds)
    return DONE


def bench_population(
    *,
    members: Annotated[
        tuple[int, ...], tyro.conf.arg(metavar="[INT ...]", help_behavior_hint="(default: 1 5 32 128, and 256 1024 on a GPU)")
    ] = (),
    seconds: float = 2.0,
    device: Device = "auto",
) -> int:
    """Measure network updates per second, S members in one update, beside plain loops: a single one, and one per processor.

    Args:
        members: numbers of members in one update, measured in sequence
        seconds: time of one measured window
        device: auto uses a GPU if there is one
    """
    _check_seconds(seconds)
    if not all(0 < each <= 4096 for each in members) or len(set(members)) < len(members):
        raise UsageError("members must lie in [1, 4096], each named once")
    from launch.bench.members import measure

    chosen = pick(device)
    measure(members or (1, 5, 32, 128, *((256, 1024) if chosen == "cuda" else ())), seconds, chosen)
    return DONE


def bench_train(
    *,
    agents: tuple[Literal["ppo", "pqn", "dqn", "rainbow", "sac"], ...] = ("ppo", "pqn", "dqn", "rainbow", "sac"),
    cleanrl: Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: leave it out)")] = None,
    seconds: float = 10.0,
    rounds: int = 5,
    peers: Path = Path("~/.cache/plasticity-rl/peers"),
) -> int:
    """Measure agent steps per second beside Stable-Baselines3, RLlib, Sample Factory and CleanRL, in alternating windows: of SAC on
    Pendulum, of others on Breakout.

    Each of them is installed once, with pip, into its own virtual environment.

    Args:
        agents: agents to compare
        cleanrl: a checkout of CleanRL
        seconds: minimum time of one measured window
        rounds: windows of each
        peers: folder of the peers' virtual environments, a few GB
    """
    _check_seconds(seconds)
    if not 0 < rounds <= 1000:
        raise UsageError(f"rounds must lie in [1, 1000], not {rounds}")
    if not agents or len(set(agents)) < len(agents):
        raise UsageError("agents must name at least one, each once")
    from launch.bench.peers.train import measure

    measure(agents, cleanrl and cleanrl.expanduser().resolve(), seconds, rounds, peers.expanduser().resolve())
    return DONE


def bench_interventions(
    *,
    only: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[METHOD ...]", help_behavior_hint="(default: all)")] = (),
    networks: tuple[Literal["mlp", "nature"], ...] = ("mlp", "nature"),
    seconds: float = 1.0,
    rounds: int = 5,
    plugin: Plugins = (),
) -> int:
    """Measure the cost of each method: time of a compiled update with it over time without it, for one member and for five.

    Args:
        only: methods to measure, with their defaults
        networks: dense layers on digits, and a Q-network on frames of Atari
        seconds: time of one measured window
        rounds: windows of each, alternating with and without the method
        plugin: a module with methods of your own
    """
    _check_seconds(seconds)
    if not 0 < rounds <= 1000:
        raise UsageError(f"rounds must lie in [1, 1000], not {rounds}")
    if not networks or len(set(networks)) < len(networks) or len(set(only)) < len(only):
        raise UsageError("networks must name at least one, and each network and method once")
    allow(plugin)
    from launch.config.show import words

    known = words("method")
    chosen = [choose("method", word, known, listed("interventions")) for word in only]
    from launch.bench.interventions import measure

    measure(chosen or known, networks, seconds, rounds)
    return DONE


def bench_metrics(*, seconds: float = 2.0) -> int:
    """Measure the cost of diagnostics relative to the updates between two of them.

    Args:
        seconds: time of one measured window
    """
    _check_seconds(seconds)
    from launch.bench.metrics import measure

    measure(seconds)
    return DONE


def bench_minatar(*, environments: int = 1024, seconds: float = 1.0) -> int:
    """Measure steps per second of MinAtar's games on one thread, beside the package minatar.

    Args:
        environments: games that step together
        seconds: processor time of one measured window
    """
    _check_seconds(seconds)
    if not 0 < environments <= 1_000_000:
        raise UsageError(f"environments must lie in [1, 1000000], not {environments}")
    from launch.bench.minatar import measure

    measure(environments, seconds)
    return DONE


def bench_statistics(
    *,
    only: tuple[Literal["speed", "intervals", "tasks", "marks", "looks", "power"], ...] = (
        "speed",
        "intervals",
        "tasks",
        "marks",
        "looks",
        "power",
    ),
    trials: int = 2_000,
    repetitions: int = 50_000,
    fewer: int = 2_000,
    rounds: int = 3,
) -> int:
    """Simulate how often intervals hold and marks err, and measure the bootstrap of a benchmark's aggregates beside rliable's.

    The tables are those of docs/statistics.md; speed is that of 6 algorithms x 10 runs x 57 tasks.

    Args:
        only: tables to make
        trials: simulated studies of each cell
        repetitions: resamples
        fewer: resamples for rliable, whose time is scaled up
        rounds: alternating measurements of each
    """
    if not 100 <= fewer <= repetitions <= 1_000_000:
        raise UsageError(f"fewer and repetitions must lie in [100, 1000000], the latter no smaller; not {fewer} and {repetitions}")
    if not 0 < rounds <= 1000:
        raise UsageError(f"rounds must lie in [1, 1000], not {rounds}")
    if not 1 <= trials <= 1_000_000:
        raise UsageError(f"trials must lie in [1, 1000000], not {trials}")
    from launch.bench.coverage import TABLES
    from launch.bench.statistics import measure

    for name in dict.fromkeys(only):
        if name == "speed":
            measure(repetitions, fewer, rounds)
        else:
            print(TABLES[name](trials), end="\n\n", flush=True)
    return DONE


def bench_actors(*, actors: tuple[int, ...] = (1, 2, 4), seconds: float = 10.0, step_time: float = 0.005) -> int:
    """Measure remote actors: steps per second and the learner's utilisation, with EnvPool and with a stub of a fixed step time.

    Args:
        actors: numbers of actors, measured in sequence
        seconds: time of each measurement
        step_time: seconds per step of the stub
    """
    if not 0 < seconds < 3600 or not 0 <= step_time < 60:
        raise UsageError(f"seconds must lie in (0, 3600) and step-time in [0, 60), not {seconds} and {step_time}")
    if not actors or not all(0 < each <= 256 for each in actors):
        raise UsageError("actors must name at least one number in [1, 256]")
    from launch.ray_cluster import prepare_ray

    prepare_ray(None)
    from launch.bench.actors import measure

    measure(actors, seconds, step_time)
    return DONE


def bench_path(*, actors: int = 2, receivers: int = 64, seconds: float = 5.0) -> int:
    """Measure the throughput of Ray: single frames per second from stub actors into a replay, and weights to many stub actors.

    Args:
        actors: number of actors that send frames
        receivers: number of actors that receive weights, one process each; 0 skips this measurement
        seconds: time of counting frames
    """
    _check_seconds(seconds)
    if not 1 <= actors <= 256 or not 0 <= receivers <= 1024:
        raise UsageError(f"actors must lie in [1, 256] and receivers in [0, 1024], not {actors} and {receivers}")
    from launch.ray_cluster import prepare_ray

    prepare_ray(None)
    from launch.bench.path import measure

    measure(actors, receivers, seconds)
    return DONE


def bench_reliability(
    *,
    only: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[PROMISE ...]", help_behavior_hint="(default: all)")] = (),
    trials: int = 20,
    seed: int = 0,
) -> int:
    """Try what runs promise when something goes wrong, and count how often it held: kills, signals, damage, full disks, races, mistakes.

    Args:
        only: promises to try, by the words of docs/reliability.md
        trials: most trials of each
        seed: 0 to 2147483647; of every random choice
    """
    if not 1 <= trials <= 1_000_000 or not 0 <= seed <= MAX_SEED:
        raise UsageError(f"trials must lie in [1, 1000000] and seed in [0, {MAX_SEED}], not {trials} and {seed}")
    from launch.bench.reliability.measure import PROMISES, measure, table

    for word in only:
        choose("promise", word, PROMISES)
    found = measure(only, trials, seed)
    print(f"\n{table(found)}")
    return DONE if all(count.held == count.tried for count in found.values()) else BROKEN


def bench_checkpoint(*, frames: int = 1_000_000, place: Path = Path(".")) -> int:
    """Measure how long a run waits for a checkpoint of a large replay; takes 7 kB of memory a frame and twice that of disk.

    Args:
        frames: size of the replay, of 84 x 84 bytes each
        place: folder in which checkpoints are written, and removed
    """
    if not 1_000 <= frames <= 100_000_000:
        raise UsageError(f"frames must lie in [1000, 100000000], not {frames}")
    refuse_file(place, "checkpoints")
    from launch.bench.checkpoint import measure

    measure(frames, place)
    return DONE


def bench_gpu(*, device: Device = "auto", minutes: float = 9.0, out: Path = Path("gpu")) -> int:
    """Check on a GPU that agents and methods run, resume and compile to the same; measure speeds and memory; write gpu.json and gpu.md.

    Args:
        device: auto uses a GPU if there is one; cpu is the dry form
        minutes: time in which items begin; the last may take longer
        out: folder of the two files
    """
    if not 0 < minutes <= 600:
        raise UsageError(f"minutes must lie in (0, 600], not {minutes}")
    refuse_file(out, "bench's files")
    from launch.bench.gpu import measure

    return DONE if measure(pick(device), minutes, out) else BROKEN


def bench_soak(*, hours: float = 2.0, out: Path = Path("soak.csv")) -> int:
    """Watch a sequence of games with remote actors, one of which is killed every minute, for growth of memory, files and processes.

    Args:
        hours: time of watching
        out: table of all samples, one every 10 seconds
    """
    if not 0 < hours <= 1000:
        raise UsageError(f"hours must lie in (0, 1000], not {hours}")
    if not out.parent.is_dir():
        raise UsageError(f"no folder {out.parent} for {out.name}")
    from launch.bench.soak import measure

    return DONE if measure(hours, out) else BROKEN


BENCHES = {
    "update": bench_update,
    "population": bench_population,
    "train": bench_train,
    "actors": bench_actors,
    "path": bench_path,
    "interventions": bench_interventions,
    "metrics": bench_metrics,
    "minatar": bench_minatar,
    "statistics": bench_statistics,
    "reliability": bench_reliability,
    "soak": bench_soak,
    "gpu": bench_gpu,
    "checkpoint": bench_checkpoint,
}


def _check_seconds(seconds: float) -> None:
    """Raise an error if the window length is invalid."""
    if not 0 < seconds < 3600:
        raise UsageError(f"seconds must lie in (0, 3600), not {seconds}")
