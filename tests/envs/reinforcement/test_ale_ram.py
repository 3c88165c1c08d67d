"""Games with RAM observations, as the word `ale-ram` and with any agent. Emulators' outputs are in test_atari_rules.py."""

import pytest

from launch.config.parse import experiment
from plasticity_rl.checks import UsageError
from plasticity_rl.networks.specs import MLP
from plasticity_rl.records.events import Snapshot
from tests.training import events, scores


def test_the_word() -> None:
    made = experiment({"benchmark": "ale-ram"})
    games = made.benchmark
    assert len(games.names) >= 4 and len(games.visits()) == 3 * len(games.names) and made.members == 5
    assert (games.observe, games.sticky, games.action_space.n, games.inputs) == ("ram", 0.25, 18, (4, 128))
    assert set(games.references()) == set(games.names)
    assert {visit.budget % (4 * made.agent.num_envs * made.agent.rollout_length) for visit in games.visits()} == {0}


@pytest.mark.long
def test_the_word_at_a_tenth_of_its_budget() -> None:
    """Learning uses five rollouts of 8 environments and 128 steps in each of 12 visits, in 4 epochs of 4 minibatches."""
    frames = experiment({"benchmark": "ale-ram"}).benchmark.frames // 10
    made = experiment({"benchmark": f"ale-ram:frames={frames}", "members": 1, "probe_every": 0})
    found = events(made)
    visits = made.benchmark.visits()
    cuts = {(row.visit, row.task, row.cycle, row.member) for row in scores(found, "cut")}
    assert cuts == {(visit.index, visit.task, visit.cycle, 0) for visit in visits}
    last = [event for event in found if isinstance(event, Snapshot)][-1]
    assert last.counters["ticks"]["update"] == 12 * 5 * 16
    assert all(tensor.isfinite().all() for name, tensor in last.tensors.items() if name.startswith("params/"))


@pytest.mark.parametrize(("observe", "inputs"), [("ram", 4 * 128), ("ram-bits", 4 * 1024)])
@pytest.mark.parametrize(("agent", "norm"), [("dqn", "none"), ("rainbow", "none"), ("pqn", "layer"), ("ppo", "none"), ("impala", "none")])
def test_every_agent_reads_it_by_an_mlp(observe: str, inputs: int, agent: str, norm: str) -> None:
    """Width as for `ale-ram`, the norm as for the agent on images, and everything else as on images."""
    made, seen = (experiment({"benchmark": f"atari:observe={each}", "agent": agent}) for each in (observe, "pixels"))
    assert made.network == MLP(width=256, depth=2, norm=norm) and seen.network.norm == norm
    assert (made.agent, made.optimizer, made.schedule) == (seen.agent, seen.optimizer, seen.schedule)
    assert experiment({"benchmark": f"ale-ram:observe={observe}", "agent": agent}).network == made.network
    stacked, single = made.benchmark.inputs
    assert stacked * single == inputs


@pytest.mark.parametrize("network", ["nature", "impala-cnn", "resnet18"])
def test_torsos_for_images_are_refused(network: str) -> None:
    from plasticity_rl.interventions import assemble

    made = experiment({"benchmark": "ale-ram", "network": network})
    with pytest.raises(UsageError, match=r"cannot read inputs of shape \(4, 128\): \w+ reads images of") as raised:
        assemble(made.network, made.optimizer, made.chain, made.benchmark.inputs, made.agent.heads(made.benchmark))
    assert "\n" not in str(raised.value)
