"""The supervised agent: its scores, resuming, and equal data for all chains."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from agents.supervised import Supervised
from launch.config.parse import experiment
from plasticity_rl.networks.network import Network
from plasticity_rl.records.events import Metric, Score, Snapshot, Tick
from plasticity_rl.training.learner import Learner
from tests.training import LABELS, events, one_by_one_is_in_a_row, resumed_is_never_stopped, scores

CHAINS = [
    [],
    ["layer-norm", "weight-decay"],
    ["l2-init"],
    ["nap", "redo:every=10"],
    ["reset"],
    ["shrink-and-perturb", "reset:part=optimizer"],
]


@pytest.mark.parametrize("chain", CHAINS, ids=" + ".join)
def test_a_resumed_run_is_one_that_was_never_stopped(chain: list[str]) -> None:
    resumed_is_never_stopped(LABELS | {"chain": chain})


def test_updates_in_a_row_are_those_made_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"curvature_every": 30, "probe_every": 35, "probe_updates": 4, "schedule": "linear:clock=visit"}
    one_by_one_is_in_a_row(LABELS | rows | {"chain": ["noisy-updates", "redo:every=7"]}, monkeypatch)


def test_scores_are_a_plain_loops_online_accuracies() -> None:
    made = experiment(LABELS | {"members": 1})
    scores = [event for event in events(made) if isinstance(event, Score)]
    stream = made.benchmark.open([(made.seed, 0)], made.agent.batch_size, "cpu")
    network = Network(made.network, made.benchmark.inputs, made.benchmark.outputs)
    born = Learner(network, lambda *_: (torch.zeros(()), {}), made.optimizer, (), 1, made.seed, compile=False).one(0)
    plain = nn.Sequential(nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 10))
    with torch.no_grad():
        for layer, name in zip(plain[::2], ("hidden0", "hidden1", "head"), strict=True):
            layer.weight.copy_(born[f"{name}.weight"])
            layer.bias.copy_(born[f"{name}.bias"])
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-3)
    expected, window = [], []
    for update in range(120):
        visit, within = divmod(update, 40)
        batch = {name: values[0] for name, values in stream.batch(visit, within).items()}
        logits = plain(batch["inputs"])
        window.append((logits.argmax(-1) == batch["labels"]).float().mean().item())
        optimizer.zero_grad()
        F.cross_entropy(logits, batch["labels"]).backward()
        optimizer.step()
        if within + 1 in (15, 30, 40):
            expected.append((visit, update + 1, sum(window) / len(window)))
            window = []
    assert [(score.visit, score.updates) for score in scores] == [(visit, updates) for visit, updates, _ in expected]
    assert [score.score for score in scores] == pytest.approx([accuracy for *_, accuracy in expected], abs=1e-6)


def test_two_chains_with_one_seed_meet_the_same_data(monkeypatch: pytest.MonkeyPatch) -> None:
    met: dict[str, list[torch.Tensor]] = {}
    updates = Learner.updates

    def watched(self: Learner, rates: Any, batches: list[dict[str, torch.Tensor]], measure: bool) -> list[dict[str, torch.Tensor]]:
        met.setdefault(made.label, []).extend(batch[name] for batch in batches for name in ("inputs", "labels"))
        return updates(self, rates, batches, measure=measure)

    monkeypatch.setattr(Learner, "updates", watched)
    for chain in ([], ["nap", "redo:every=10"], ["reset"]):
        made = experiment(LABELS | {"chain": chain})
        events(made)
    none, *others = met.values()
    assert len(none) == 240 and len(others) == 2
    for other in others:
        assert all(torch.equal(one, two) for one, two in zip(none, other, strict=True))


def test_a_member_does_not_feel_how_many_there_are() -> None:
    few = [event for event in events(experiment(LABELS | {"members": 1})) if isinstance(event, Score)]
    many = [event for event in events(experiment(LABELS | {"members": 3})) if isinstance(event, Score) and event.member == 0]
    assert [score.score for score in few] == pytest.approx([score.score for score in many], abs=1e-6)


def test_diagnostics_stand_beside_an_untrained_networks() -> None:
    found = [event for event in events(experiment(LABELS | {"chain": ["nap"]})) if isinstance(event, Metric)]
    names = {metric.name for metric in found}
    layers = ("hidden0", "hidden1")
    both = [
        f"{name}{of}" for name in ("dormant_fraction", "dead_fraction", "linearised_fraction", "zero_fraction") for of in ("", "_fresh")
    ]
    both += [f"{name}{of}" for name in ("sign_entropy", "preactivation_mean", "preactivation_variance") for of in ("", "_fresh")]
    both += ["gradient_dormant_fraction", "gradient_dormant_fraction_fresh"]
    units = {f"{kind}/{layer}" for kind in (*both, "preactivation_shift") for layer in layers}
    ranks = {f"{kind}{of}/hidden1" for kind in ("stable_rank", "effective_rank", "srank", "feature_rank") for of in ("", "_fresh")}
    kinds = ("weight_norm", "weight_norm_fresh", "distance_from_birth", "effective_learning_rate", "update_norm")
    gradients = [f"gradient_l{power}{of}" for power in range(3) for of in ("", "_fresh")]
    lengths = {f"{kind}/{layer}" for kind in (*kinds, *gradients) for layer in (*layers, "head")}
    held = {"cka_to_start/hidden1", "churn", "policy_churn"}
    work = {f"projection_{kind}/NormalizeAndProject" for kind in ("factor", "change")}
    assert names == {"loss", "learning_rate", "updates_per_second", "memory_mb", "processor_ms"} | units | ranks | lengths | held | work
    by_name = {(metric.name, metric.updates): metric.value for metric in found if metric.member == 0}
    for layer in layers:
        assert all(by_name[f"dead_fraction/{layer}", at] <= by_name[f"dormant_fraction/{layer}", at] for at in (20, 120))  # ReLUs
    assert 1 <= by_name["stable_rank/hidden1", 120] <= by_name["srank/hidden1", 120] <= 8 and by_name["distance_from_birth/head", 20] > 0
    assert {metric.updates for metric in found} == {20, 40, 60, 80, 100, 120}
    for layer in layers:  # NaP's purpose
        held = {round(metric.value, 4) for metric in found if metric.name == f"weight_norm/{layer}" and metric.member == 0}
        assert len(held) == 1
    grown = [metric.value for metric in found if metric.name == "weight_norm/head" and metric.member == 0]
    assert len(set(grown)) == len(grown)


def test_tests_are_accuracies_on_what_was_held_out_after_the_last_update() -> None:
    made = experiment(LABELS | {"benchmark": "permuted-labels:images=60,tasks=2,updates=40,held_out=600", "checkpoint_every": 40})
    found = events(made)
    tests = scores(found, "test")
    assert [(score.member, score.visit, score.updates) for score in tests] == [(0, 0, 40), (1, 0, 40), (0, 1, 80), (1, 1, 80)]
    network = Network(made.network, made.benchmark.inputs, made.benchmark.outputs)
    saved = [event for event in found if isinstance(event, Snapshot)]
    inputs = torch.tensor(made.benchmark.load()[0])
    for score in tests:
        params = {name.removeprefix("params/"): of[score.member] for name, of in saved[score.visit].tensors.items() if "params/" in name}
        right = network.apply(params, inputs[60:])[0].argmax(-1).numpy() == made.benchmark.task(0, score.member, score.visit).labels[60:]
        assert score.score == pytest.approx(right.mean(), abs=1e-6)
    assert tests[0].score > 0.2  # twice as often as by chance


def test_an_exploding_loss_ends_the_run_before_a_score_is_written() -> None:
    made = experiment(LABELS | {"optimizer": "sgd", "schedule": "constant:rate=1e30"})
    seen: list[object] = []
    with pytest.raises(FloatingPointError, match=r"loss of member 0 is .* after 15 updates"):
        seen.extend(made.agent.train(made, "cpu", False, None))
    assert not [event for event in seen if isinstance(event, Score | Tick)]


def test_the_loss_is_cross_entropy() -> None:
    network = Network(experiment(LABELS).network, (64,), 10)
    params = network.init(torch.Generator().manual_seed(0))
    batch = {"inputs": torch.randn(4, 64), "labels": torch.tensor([1, 2, 3, 4])}
    loss, reported = Supervised().loss(network, params, batch)
    probabilities = network.apply(params, batch["inputs"])[0].softmax(-1)
    assert loss.item() == pytest.approx(-probabilities[range(4), batch["labels"]].log().mean().item(), rel=1e-5)
    assert reported["measured"].item() == (probabilities.argmax(-1) == batch["labels"]).float().mean().item()
