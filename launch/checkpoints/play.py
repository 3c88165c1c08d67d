"""Play whole episodes with one member of a trained run, without learning, as in the run's evaluations."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from torch import Tensor

from agents.acting.actor import THREADS, Actor
from agents.acting.policy import draw_actions, shared
from agents.acting.random_streams import RandomStreams
from agents.base import ActingAgent
from envs.reinforcement.backends.pool import Pool, Step
from envs.reinforcement.base import ReinforcementBenchmark
from envs.reinforcement.isolation import open_pool
from launch.checkpoints.video import Film, show_in_tensorboard
from plasticity_rl.checks import UsageError, choose
from plasticity_rl.experiment import MAX_SEED, Experiment
from plasticity_rl.interventions import assemble
from plasticity_rl.networks.layers import Params
from plasticity_rl.networks.network import Network
from plasticity_rl.records import checkpoint
from plasticity_rl.records.folder import RunFolder
from plasticity_rl.seeds import derive
from plasticity_rl.training.lift import lift


class Played(NamedTuple):
    """A played episode, complete or cut."""

    episode: int
    score: float
    """undiscounted, unclipped return"""
    length: int
    """length in steps"""
    whole: bool
    """True if it ended, False if the step limit cut it"""

    def __str__(self) -> str:
        what = f"return {self.score:g} in {self.length:,} steps" if self.whole else f"cut after {self.length:,} steps, at {self.score:g}"
        return f"episode {self.episode}: {what}"


def play(
    run: RunFolder, member: int, task: str | None, episodes: int, number: int | None, video: bool, steps: int, seed: int
) -> list[Played]:
    """Play `episodes` episodes of at most `steps` steps with checkpoint `number`; print them as they end, and film them if `video` is set.

    The default checkpoint is the newest complete one, the default task the one being learned at that checkpoint. Episode e starts from the
    same seed for every member. Raises UsageError before anything is written.
    """
    experiment = _experiment(run, member, task, episodes, steps, seed)
    torch.set_num_threads(1)  # enough for a few observations, and leaves the others to a run in progress
    torch.set_flush_denormal(True)  # as in the run
    benchmark, console, played = cast(ReinforcementBenchmark, experiment.benchmark), Console(highlight=False), []
    if video:
        run.refuse_links()
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        row = bar.add_task("reading the checkpoint")
        place = find_checkpoint(run, number)
        visits, now = benchmark.visits(), checkpoint.read_counters(place)["ticks"]["task"]
        visit = next(each for each in visits if each.task == (task or visits[now].task))
        policy = Policy(experiment, read_params(place, member), visit.task, episodes, seed, f"{place.name} {member}")
        seeds = seeds_for(seed, member, episodes)
        names = [f"{visit.task}-{place.name}-member{member}-episode{episode}" for episode in range(episodes)]
        films = [Film(run.videos, name) for name in names] if video else []
        pictures = benchmark.render_pool(visit, seeds, THREADS, experiment.seed) if video else None
        if video and pictures is None:
            raise UsageError(f"{type(benchmark).__name__} has no images to film; omit --video")
        actor = Actor(partial(open_pool, benchmark, visit, seeds, THREADS, experiment.seed), member + 1, benchmark.stack, "cpu")
        bar.console.print(f"member {member} of checkpoint {int(place.name)} plays {visit.task}", soft_wrap=True)
        with ExitStack() as stack:  # films are finished on a normal exit and discarded on an error
            camera = Camera(pictures, [stack.enter_context(film) for film in films]) if pictures else None
            for each in take_steps(actor, policy, camera, steps, lambda done: bar.update(row, description=f"{visit.task}: {done:,} steps")):
                bar.console.print(str(each), soft_wrap=True)
                played.append(each)
            bar.update(row, description="writing")
        if films:
            show_in_tensorboard(run, benchmark.frame_skip)
    for film in films:
        console.print(str(film.paths[0]), soft_wrap=True)
    return played


def _experiment(run: RunFolder, member: int, task: str | None, episodes: int, steps: int, seed: int) -> Experiment:
    """Read a run's experiment. Raises UsageError if the request does not fit it."""
    for name, value, low, high in (("episodes", episodes, 1, 100), ("steps", steps, 1, 1_000_000), ("seed", seed, 0, MAX_SEED)):
        if not low <= value <= high:
            raise UsageError(f"{name} must lie in [{low}, {high}], not {value}")
    experiment = Experiment.from_json(run.read_spec().experiment)
    if experiment.benchmark.supervision != "rewards":
        raise UsageError(f"{run} learned from {type(experiment.benchmark).__name__}, which has no episodes to play")
    if not 0 <= member < experiment.members:
        raise UsageError(f"no member {member} in {run}; did you mean {min(max(member, 0), experiment.members - 1)}?")
    if task is not None:
        choose("task", task, cast(ReinforcementBenchmark, experiment.benchmark).names)
    return experiment


def seeds_for(seed: int, member: int, episodes: int) -> np.ndarray:
    """Return environment seeds (member + 1, episodes), as rows are members to benchmarks. The last row is the same for every member."""
    count = np.arange((member + 1) * episodes)
    return ((derive(seed, "play") % MAX_SEED + count) % MAX_SEED).reshape(-1, episodes)[::-1]


def find_checkpoint(run: RunFolder, number: int | None) -> Path:
    """Return the folder of checkpoint `number`, or of the newest complete one. Raises UsageError if there is none."""
    found = {int(path.name): path for path in checkpoint.checkpoints(run.checkpoints)}
    if not found:
        raise UsageError(f"{run} has no checkpoint")
    if number is not None and number not in found:
        raise UsageError(f"no checkpoint {number} in {run}; did you mean {min(found, key=lambda each: abs(each - number))}?")
    problems = []
    for each in sorted(found, reverse=True) if number is None else [number]:
        if problem := checkpoint.problem(found[each]):
            problems.append(f"checkpoint {each}: {problem}")
            continue
        for line in problems:
            print(f"{line}; the one before it is used", file=sys.stderr)
        return found[each]
    raise UsageError(f" no checkpoint of {run} can be read: {'; '.join(problems)}")


def read_params(place: Path, member: int) -> Params:
    """Read one member's parameters, each (1, ...), without the rest of the checkpoint, such as a replay of many gigabytes."""
    from safetensors import safe_open

    with safe_open(place / checkpoint.FILES[0], "pt") as file:
        names = [name for name in file.keys() if name.startswith("params/")]  # noqa: SIM118 - not a mapping
        return {name.removeprefix("params/"): file.get_slice(name)[member : member + 1] for name in names}


class Policy:
    """Evaluation policy of one member: the agent's evaluation epsilon, and noisy layers at their means.

    Random numbers are functions of `seed`, `name` and the step. Raises UsageError if the parameters do not fit the network.
    """

    def __init__(self, experiment: Experiment, params: Params, task: str, episodes: int, seed: int, name: str) -> None:
        agent, benchmark = cast(ActingAgent, experiment.agent), cast(ReinforcementBenchmark, experiment.benchmark)
        network: Network = assemble(experiment.network, experiment.optimizer, experiment.chain, benchmark.inputs, agent.heads(benchmark))[0]
        if {name: tuple(param.shape[1:]) for name, param in params.items()} != dict(network.shapes):
            raise UsageError("the checkpoint was written by other code: its network differs from the one built here")
        self.params, self.episodes = params, episodes
        self._act = lift(lambda *given: agent.act(network, *given), in_dims=(0, 0, 0, None))
        self._streams, self._purpose = RandomStreams(seed, 1, "cpu"), f"play {name}"
        self._agent, self._space = agent, benchmark.action_space
        self._shared = shared(benchmark, task, agent.evaluation_epsilon, "cpu")

    @torch.no_grad()
    def actions(self, observations: Tensor, step: int) -> Tensor:
        """Choose actions (1, episodes) for observations (1, episodes, ...)."""
        drawn = draw_actions(self._streams, self._agent, self._space, step, self.episodes, self._purpose, evaluates=True)
        return self._act(self.params, observations, drawn, self._shared)["actions"]


class Camera:
    """A second copy of the environments that renders images; the last of them are filmed."""

    def __init__(self, pool: Pool, films: list[Film]) -> None:
        self.pool, self.films = pool, films
        self._add(pool.reset().observations, np.ones(len(films), dtype=bool))

    def follow(self, step: Step, going: np.ndarray) -> None:
        """Film a step of the played environments. Raises RuntimeError if the copies have diverged."""
        seen = self.pool.recv()
        for field in ("rewards", "terminated", "truncated"):
            if not np.array_equal(getattr(seen, field), getattr(step, field)):
                raise RuntimeError(f"the pictures are of another game than the one that is played: their {field} differ")
        self._add(seen.observations, going)

    def _add(self, pictures: np.ndarray, going: np.ndarray) -> None:
        for film, picture, on in zip(self.films, pictures[-len(self.films) :], going, strict=True):
            if on:
                film.add(picture)


def take_steps(actor: Actor, policy: Policy, camera: Camera | None, steps: int, tell: Callable[[int], object]) -> Iterator[Played]:
    """Yield the first episode of each environment of the actor's last member, as they end; `tell` receives the steps so far. All other
    members' rows take action 0.
    """
    member, going = len(actor.frames) - 1, np.ones(policy.episodes, dtype=bool)
    for step in range(1, steps + 1):
        chosen = policy.actions(actor.observations[-1:], step)
        actions = torch.cat([chosen.new_zeros(member, *chosen.shape[1:]), chosen])
        actor.send(actions)
        if camera:
            camera.pool.send(actions.flatten(0, 1).numpy())
        answer, ended = actor.receive()
        if camera:
            camera.follow(answer, going)
        for episode in ended:
            if episode.member == member and going[episode.environment]:
                going[episode.environment] = False
                yield Played(episode.environment, episode.score, step, True)
        if not going.any():
            break
        if step % 10 == 0:
            tell(step)
    for episode in actor.close():
        if episode.member == member and going[episode.environment]:
            yield Played(episode.environment, episode.score, steps, False)
