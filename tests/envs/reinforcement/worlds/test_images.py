"""The bandit and the ring of images on a device, beside those of the processor with the same random numbers."""

from typing import Any

import numpy as np
import pytest
import torch

from envs.reinforcement.bandit import Bandit
from envs.reinforcement.image_mdp import ImageMDP
from envs.supervised import datasets
from tests.envs.reinforcement.playing import assert_same, at_random, play
from tests.training import resumed_is_never_stopped

SEEDS = np.array([[3, 5], [9, 14]])
SIZES: Any = {"images": 200, "tasks": 2, "length": 30}
MEMBER = torch.tensor([0, 0, 1, 1])
FORMS: Any = [(Bandit, {}), (ImageMDP, {}), (ImageMDP, {"labels": "random", "reward": "sparse"})]


@pytest.mark.parametrize(("problem", "fields"), FORMS)
def test_the_rules_are_those_of_the_processor(problem: Any, fields: dict[str, Any]) -> None:
    """Every second action is right, so that both ways are taken."""
    benchmark, images = problem(**SIZES, **fields), torch.tensor(datasets.load("digits", 200)[0])
    correct = np.stack([benchmark.correct_actions(7, member, 1) for member in range(2)])
    host: Any = benchmark.backend(images.numpy(), correct[MEMBER.numpy()], SEEDS.reshape(-1))
    rules, given = benchmark.rules(torch.from_numpy(correct))
    world = rules.bound(given | {"images": images, "member": MEMBER})
    step = host.reset()
    numbers = torch.from_numpy(host._random if problem is ImageMDP else ((host._index + 0.5) / 200)[..., None])
    state, rewarded = world.begin(numbers[:, 0]), 0.0
    np.testing.assert_array_equal(world.observe(state).numpy(), step.observations)
    for age, actions in enumerate(np.random.default_rng(0).integers(10, size=(30, 4))):
        shown = state.image if problem is ImageMDP else state
        actions = correct[MEMBER.numpy(), shown.numpy()] if age % 2 else actions
        host.send(actions)
        step = host.recv()
        state, rewards, ended = world.step(state, torch.from_numpy(actions), numbers[:, age + 1])
        np.testing.assert_array_equal(world.observe(state).numpy(), step.observations)
        np.testing.assert_array_equal(rewards.float().numpy(), step.rewards)
        assert not ended.any()
        rewarded += float(rewards.sum())
    assert 0 < rewarded < 120


@pytest.mark.parametrize("problem", [Bandit, ImageMDP])
def test_pools_play_episodes_of_their_length_and_equal_seeds_alike(problem: Any) -> None:
    tasks, actions = problem(simulator="torch", **SIZES), at_random(70, 4, 10)
    visit = tasks.visits()[1]
    one, same, others = (play(tasks.pool(visit, seeds, 1, 0), actions) for seeds in (SEEDS, SEEDS, SEEDS + 100))
    assert_same(one, same)
    assert not np.array_equal(one.observations, others.observations)
    assert np.flatnonzero(one.truncated.all(1)).tolist() == np.flatnonzero(one.truncated.any(1)).tolist() == [30, 61]
    assert not one.terminated.any()


@pytest.mark.parametrize("problem", [Bandit, ImageMDP])
def test_random_play_scores_as_it_is_stated(problem: Any) -> None:
    benchmark = problem(simulator="torch", **SIZES)
    pool, random = benchmark.pool(benchmark.visits()[0], np.arange(1000)[None], 1, 0), np.random.default_rng(1)
    returns = pool.reset().rewards
    for _ in range(30):
        pool.send(random.integers(10, size=1000))
        returns = returns + pool.recv().rewards
    (expected,) = {each["random"] for each in benchmark.references().values()}
    assert float(returns.mean()) == pytest.approx(expected, abs=4 * float(returns.std()) / 1000**0.5)


@pytest.mark.parametrize("problem", [Bandit, ImageMDP])
def test_nothing_reads_the_device(problem: Any) -> None:
    """On a device without values, whatever asks for one fails."""
    rules, given = problem(**SIZES).rules(torch.zeros(2, 200, dtype=torch.int64))
    given |= {"images": torch.zeros(200, 64), "member": MEMBER}
    world = rules.bound({name: tensor.to("meta") for name, tensor in given.items()})
    draws = torch.empty(4, world.draws, device="meta")
    state, rewards, ended = world.step(world.begin(draws), torch.empty(4, dtype=torch.int64, device="meta"), draws)
    assert {each.device.type for each in (world.observe(state), rewards, ended)} == {"meta"}


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")  # by torch itself
@pytest.mark.parametrize("problem", [Bandit, ImageMDP])
def test_a_compiled_step_is_the_same(problem: Any) -> None:
    tasks, seen = problem(simulator="torch", **SIZES), []
    for compile in (False, True):
        pool = tasks.device_pool(tasks.visits()[1], SEEDS, 0, None, "cpu", compile)
        steps = [pool.reset()]
        steps += [pool.step(torch.from_numpy(row)) for row in at_random(70, 4, 10)]
        seen.append([torch.stack(part) for part in zip(*steps, strict=True)])
    assert all(torch.equal(eager, compiled) for eager, compiled in zip(*seen, strict=True))
    assert 0 < seen[0][1].sum() < 280


def test_the_default_keeps_the_hash_of_its_tasks() -> None:
    assert Bandit(images=300).fingerprint(1, 2) == "cb8983f4373d5d21"  # of the commit before the field
    assert ImageMDP(images=300).fingerprint(1, 2) == "01cfe96e5182a259"
    assert Bandit(images=300, simulator="torch").fingerprint(1, 2) != Bandit(images=300).fingerprint(1, 2)


@pytest.mark.parametrize("word", ["bandit", "image-mdp"])
def test_a_resumed_run_is_one_that_was_never_stopped(word: str) -> None:
    words = {"benchmark": f"{word}:tasks=2,frames=320,images=200,length=25,simulator=torch", "network": "mlp:width=16,norm=layer"}
    agent = "dqn:num_envs=2,batch_size=8,replay=200,min_replay=20,target_every=10"
    resumed_is_never_stopped(words | {"agent": agent, "members": 2, "checkpoint_every": 100, "diagnose_every": 20})
