"""Probes during a run: their rows, and no effect on the run."""

import pytest
import torch
from torch import nn

from agents.diagnostics.probing import OBSERVATIONS, SEEN, Probing, seen_of_stream
from launch.config.parse import experiment
from plasticity_rl.networks.layers import HeadSpec
from plasticity_rl.networks.network import Network
from plasticity_rl.records.events import Metric, Snapshot
from plasticity_rl.training.learner import Learner
from plasticity_rl.training.probes import Probe, Regression, squared_error
from tests.training import CARTPOLE, LABELS, comparable, events, resumed_is_never_stopped

PROBED = {"probe_every": 20, "probe_updates": 4}
PPO = CARTPOLE | {"agent": "ppo:num_envs=4,rollout_length=10,minibatches=2,epochs=1", "diagnose_every": 100}


def probes(found: list) -> list[Metric]:
    return [event for event in found if isinstance(event, Metric) and event.name.startswith("probe_")]


def without_probes(found: list) -> list:
    found = [e._replace(tensors={n: t for n, t in e.tensors.items() if n != SEEN}) if isinstance(e, Snapshot) else e for e in found]
    return [event for event in comparable(found) if not getattr(event, "name", "").startswith("probe_")]


def names(targets: tuple[str, ...]) -> set[str]:
    return {f"probe_{loss}{of}/{target}" for loss in ("final", "mean") for of in ("", "_fresh") for target in targets}


@pytest.mark.parametrize("chain", [[], ["nap", "noisy-updates", "redo:every=10"]], ids=" + ".join)
def test_a_stream_goes_the_same_way_with_probes(chain: list[str]) -> None:
    said = LABELS | {"chain": chain}
    found = events(experiment(said | PROBED))
    assert without_probes(found) == comparable(events(experiment(said)))
    rows = probes(found)
    assert {row.updates for row in rows} == {20, 40, 60, 80, 100, 120}
    for at in (20, 120):
        functions = ("random", "teacher", "offset", "first")
        assert {row.name for row in rows if row.updates == at} == names(functions if at == 120 else (*functions, "next"))
    assert len(rows) == 2 * 4 * (4 * 5 + 2 * 4)  # members, losses, visits with and without a next


@pytest.mark.parametrize("said", [CARTPOLE, PPO], ids=["dqn", "ppo"])
def test_a_game_goes_the_same_way_with_probes(said: dict) -> None:
    every = {"probe_every": 5, "probe_updates": 4}
    found = events(experiment(said | every))
    assert without_probes(found) == comparable(events(experiment(said)))
    functions = ("random", "teacher", "offset", "scaled")
    heads = {f"probe_{head}{of}/{target}" for head in ("policy", "value") for of in ("", "_fresh") for target in functions}
    assert {row.name for row in probes(found)} == names(functions) | (heads if said is PPO else set())


@pytest.mark.parametrize("separate", ["false", "true"])
def test_rollouts_are_probed_whole_and_resumed(separate: str) -> None:
    agent = f"{PPO['agent']},separate={separate}"
    found = resumed_is_never_stopped(PPO | {"agent": agent, "probe_every": 5, "probe_updates": 4, "checkpoint_every": 100})
    kept = [event.tensors[SEEN] for event in found if isinstance(event, Snapshot)]
    assert probes(found) and {tuple(seen.shape) for seen in kept} == {(2, 4 * 10, 4)}


def tower(params: dict[str, torch.Tensor], head: str) -> nn.Sequential:
    made = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, len(params[f"{head}.bias"])))
    layers = (f"{head}.hidden0", f"{head}.hidden1", head)
    for mine, theirs in zip(made.parameters(), (f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")), strict=True):
        mine.data.copy_(params[theirs])
    return made


def test_of_separate_networks_each_is_probed_as_if_alone() -> None:
    made = experiment(PPO | {"agent": f"{PPO['agent']},separate=true", "network": "mlp:depth=2,width=8", "optimizer": "sgd"})
    heads = HeadSpec((("policy", 2), ("value", 1)), separate=True)
    network = Network(made.network, (4,), heads)
    learner = Learner(network, lambda *_: (torch.zeros(()), {}), made.optimizer, (), 2, made.seed, compile=False)
    seen = torch.randn(2, 30, 4, generator=torch.Generator().manual_seed(0))
    updates = 12
    outcomes = Probing(learner, made, updates, ("teacher",), compile=False).outcomes(0, seen)
    assert list(outcomes) == ["teacher", "teacher/policy", "teacher/value"]
    data = Regression(learner, seen, ("teacher",), 1, updates, seen.shape[1])
    for member in range(2):
        of_heads = []
        for head, columns in (("policy", slice(0, 2)), ("value", slice(2, 3))):
            for of, params in (("", learner.one(member)), ("fresh_", {n: p[member] for n, p in learner.fresh("reference").items()})):
                net = tower(params, head)
                optimizer = torch.optim.SGD(net.parameters(), lr=1.0, momentum=made.optimizer.momentum)  # half of the whole loss
                losses = []
                for update in range(updates):
                    optimizer.param_groups[0]["lr"] = made.schedule.at(update, updates) / 2
                    batch = data.batch(update)
                    loss = nn.functional.mse_loss(net(batch["inputs"][0, 0, member]), batch["targets"][0, 0, member][:, columns])
                    losses.append(loss.item())
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                found = outcomes[f"teacher/{head}"]._asdict()
                assert found[f"{of}mean"][member].item() == pytest.approx(sum(losses) / updates, rel=1e-4)
                assert found[f"{of}final"][member].item() == pytest.approx(losses[-1], rel=1e-4)
                of_heads += [losses[-1]] if not of else []
        assert outcomes["teacher"].final[member].item() == pytest.approx(sum(of_heads) / 2, rel=1e-4)


def test_a_resumed_run_is_probed_as_one_that_was_never_stopped() -> None:
    assert probes(resumed_is_never_stopped(LABELS | PROBED | {"checkpoint_every": 50}))


def test_rows_of_tasks_are_what_learners_make_of_the_streams_batches() -> None:
    made = experiment(LABELS | PROBED)
    rows = {(row.name, row.member): row.value for row in probes(events(made)) if row.updates == 20}
    network = Network(made.network, made.benchmark.inputs, made.benchmark.outputs)
    stream = made.benchmark.open([(made.seed, member) for member in range(2)], 8, "cpu")

    def learner() -> Learner:
        loss = lambda params, batch: made.agent.loss(network, params, batch)  # noqa: E731
        return Learner(network, loss, made.optimizer, (), 2, made.seed, compile=False)

    run, untrained = learner(), learner()
    for update in range(20):
        run.update(1e-3, stream.batch(0, update))
    untrained.load({f"params/{name}": param for name, param in run.fresh("reference").items()} | zeros(untrained), run.ticks)
    run.load(run.tensors() | zeros(run), run.ticks)
    start = {name: tensor.clone() for name, tensor in run.tensors().items()}
    for target, visit in (("next", 1), ("first", 0)):
        run.load(start, run.ticks)
        losses = torch.stack([run.update(1e-3, stream.batch(visit, update))["loss"] for update in range(4)])
        for member in range(2):
            assert rows[f"probe_mean/{target}", member] == pytest.approx(losses.mean(0)[member].item(), rel=1e-5)
            assert rows[f"probe_final/{target}", member] == pytest.approx(losses[-1, member].item(), rel=1e-5)
    losses = torch.stack([untrained.update(1e-3, stream.batch(1, update))["loss"] for update in range(4)])
    assert rows["probe_mean_fresh/next", 1] == pytest.approx(losses.mean(0)[1].item(), rel=1e-5)


def zeros(learner: Learner) -> dict[str, torch.Tensor]:
    """An empty optimizer state."""
    return {name: torch.zeros_like(tensor) for name, tensor in learner.tensors().items() if name.startswith("slots/")}


def test_experiments_that_are_trained_as_one_are_probed_as_alone() -> None:
    said = LABELS | {"probe_every": 120, "probe_updates": 3, "members": 1}
    made = [experiment(said | own) for own in ({}, {"seed": 4, "optimizer": "adam:beta2=0.9"})]
    both = [event for place, event in made[0].agent.train_group(made, "cpu", False, None) if place == 1]
    alone, together = probes(events(made[1])), probes(both)
    assert [row[:-1] for row in alone] == [row[:-1] for row in together] and len(alone) == 16
    for one, other in zip(alone, together, strict=True):
        assert one.value == pytest.approx(other.value, rel=2e-2)  # sin(1e5 f) makes roundings visible


def test_the_latest_observations_of_a_stream_are_those_of_the_visit() -> None:
    made = experiment(LABELS)
    stream = made.benchmark.open([(made.seed, member) for member in range(2)], 8, "cpu")
    newest = torch.cat([stream.batch(1, update)["inputs"] for update in (2, 1, 0)], 1)
    assert torch.equal(seen_of_stream(made, "cpu", 1, 3), newest)
    many = seen_of_stream(made, "cpu", 1, 40 * 8)
    assert many.shape == (2, OBSERVATIONS, 64) and torch.equal(many[:, :8], stream.batch(1, 319)["inputs"])


def test_losses_are_means_over_functions() -> None:
    made = experiment(LABELS)
    network = Network(made.network, made.benchmark.inputs, made.benchmark.outputs)
    learner = Learner(network, lambda *_: (torch.zeros(()), {}), made.optimizer, (), 2, made.seed, compile=False)
    seen = seen_of_stream(made, "cpu", 0, 3)
    outcomes = Probing(learner, made, 3, ("offset", "teacher"), 2, compile=False).outcomes(0, seen)
    assert list(outcomes) == ["teacher", "offset"]
    for kind, outcome in outcomes.items():
        found = Regression(learner, seen, (kind,), 2, updates=3, batch=seen.shape[1])
        each = Probe(learner, squared_error(network), 2, compile=False)(found.batch, [1e-3] * 3)
        for mean, losses in zip(outcome, each, strict=True):
            torch.testing.assert_close(mean, (losses[0] + losses[1]) / 2)


def test_a_copy_whose_loss_is_no_number_has_no_row() -> None:
    said = LABELS | {"optimizer": "sgd", "schedule": "linear:rate=1e30,end=0,clock=run", "probe_updates": 4}
    made = experiment(said)
    network = Network(made.network, made.benchmark.inputs, made.benchmark.outputs)
    learner = Learner(network, lambda *_: (torch.zeros(()), {}), made.optimizer, (), 2, made.seed, compile=False)
    where = dict(visit=2, task="labels-2", cycle=0, frames=0, steps=0, updates=0)
    rows = list(Probing(learner, made, 4, ("random", "first"), compile=False).rows(where, seen_of_stream(made, "cpu", 0, 3)))
    assert rows == []
