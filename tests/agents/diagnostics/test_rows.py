"""Reports of a run's networks: since a visit began, of policies and values, and the costly rows."""

import dataclasses
import math

import pytest
import torch

from agents.diagnostics.rows import HELD, Diagnostics
from launch.config.parse import experiment
from plasticity_rl.experiment import Experiment
from plasticity_rl.metrics import measures
from plasticity_rl.metrics.function import linear_cka
from plasticity_rl.networks.network import Network
from plasticity_rl.records.events import Metric
from plasticity_rl.training.learner import Learner
from tests.learners import SPECS, built, generator
from tests.training import CARTPOLE, LABELS, events, resumed_is_never_stopped

WHERE = dict(visit=0, task="labels-0", cycle=0, frames=0, steps=0, updates=0)


def of_labels(**fields) -> tuple[Experiment, Learner, Diagnostics]:
    made = experiment(LABELS | {"diagnose_every": 1, "members": 2} | fields)
    network = Network(made.network, (64,), 10)
    learner = Learner(network, lambda params, batch: made.agent.loss(network, params, batch), made.optimizer, (), 2, 0, compile=False)
    return made, learner, Diagnostics(learner, made)


def batch(seed: int, examples: int = 128) -> dict[str, torch.Tensor]:
    inputs = torch.randn(2, examples, 64, generator=generator(seed))
    return {"inputs": inputs, "labels": torch.randint(10, (2, examples), generator=generator(seed))}


def learned(
    diagnostics: Diagnostics, given: dict[str, torch.Tensor], rate: float
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    diagnostics.look(given["inputs"])
    return diagnostics._learner.update(rate, given, measure=diagnostics.due), given


def rows(diagnostics: Diagnostics, update: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]) -> list[Metric]:
    return list(diagnostics.rows(WHERE, *update))


def row(diagnostics: Diagnostics, given: dict[str, torch.Tensor], member: int = 1, rate: float = 1e-2) -> dict[str, float]:
    return {metric.name: metric.value for metric in rows(diagnostics, learned(diagnostics, given, rate)) if metric.member == member}


def test_a_visits_start_is_held_and_compared_with() -> None:
    _, learner, diagnostics = of_labels()
    first, second, third = batch(1), batch(2), batch(3)
    assert "cka_to_start/hidden1" not in row(diagnostics, first)
    row(diagnostics, second)
    start = {name: param.clone() for name, param in learner.one(1).items()}
    diagnostics.begin()
    row(diagnostics, first)
    row(diagnostics, second)
    before = {name: param.clone() for name, param in learner.one(1).items()}
    found = row(diagnostics, third)
    held = torch.cat([first["inputs"][1], second["inputs"][1]])
    assert len(held) == HELD
    (_, then), (_, now), (outputs, _), (earlier, _) = (
        learner.network.apply(params, held, raw=raw)
        for params, raw in ((start, True), (learner.one(1), True), (learner.one(1), False), (before, False))
    )
    for layer in ("hidden0", "hidden1"):
        moved = []
        for m0, s0, m, s in zip(then[layer].mean(0), then[layer].std(0, False), now[layer].mean(0), now[layer].std(0, False), strict=True):
            moved.append((((m - m0) ** 2 + (s - s0) ** 2) / ((s**2 + s0**2) / 2)).sqrt().item())
        assert found[f"preactivation_shift/{layer}"] == pytest.approx(sum(moved) / len(moved), rel=1e-4)
    assert found["cka_to_start/hidden1"] == pytest.approx(linear_cka(then["hidden1"].relu(), now["hidden1"].relu()).item(), rel=1e-5)
    assert found["churn"] == pytest.approx((outputs - earlier).abs().mean().item(), rel=1e-4)
    assert found["policy_churn"] == pytest.approx((outputs.argmax(-1) != earlier.argmax(-1)).float().mean().item())


def test_nothing_has_moved_where_nothing_was_learned() -> None:
    _, _, diagnostics = of_labels()
    for seed in (1, 2):
        found = row(diagnostics, batch(seed), rate=0.0)
    assert found["preactivation_shift/hidden0"] == found["churn"] == found["update_norm/head"] == found["distance_from_birth/head"] == 0
    assert found["cka_to_start/hidden1"] == pytest.approx(1.0, abs=1e-9)


def test_an_error_names_the_layer_whose_units_are_no_numbers() -> None:
    _, learner, diagnostics = of_labels()
    update = learned(diagnostics, batch(1), 0.0)
    learner.net.params["hidden1.weight"][1, 3, 2] = float("nan")
    with pytest.raises(FloatingPointError, match=r"^hidden1: 128 of 3072 numbers"):
        rows(diagnostics, update)


def test_inputs_that_are_no_numbers_are_an_error_that_names_the_first_layer() -> None:
    _, _, diagnostics = of_labels()
    given = batch(1)
    given["inputs"][0, 5, 7] = float("inf")
    update = learned(diagnostics, given, 0.0)
    with pytest.raises(FloatingPointError, match=r"^hidden0: \d+ of 3072 numbers"):
        rows(diagnostics, update)


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("activation", ["relu", "leaky-relu", "prelu", "smooth-leaky", "tanh", "gelu", "crelu", "fourier", "aid"])
def test_units_after_their_activation_are_those_that_the_network_finds(activation: str, kind: str) -> None:
    network = built(kind, activation=activation)
    params, inputs = network.init(generator()), torch.randn(4, *SPECS[kind][1], generator=generator(1))
    features = network.apply(params, inputs)[1]
    found = network.activated(params, network.apply(params, inputs, raw=True)[1])
    assert list(found) == list(features)
    for layer, units in features.items():
        torch.testing.assert_close(found[layer], units, rtol=1e-5, atol=1e-6, msg=layer)  # another layout, and gelu rounds otherwise


def test_greedy_and_sampled_policies_by_hand() -> None:
    # Greedy: the first action in two of three states. Its variance is 2/9, and so is the second's.
    said = {"logits": torch.tensor([[2.0, 1.0], [3.0, 0.0], [0.0, 1.0]]), "values": torch.tensor([2.0, -3.0, 1.0])}
    found = {name: value.item() for name, value in measures.of_outputs(said, sampled=False).items()}
    assert found == pytest.approx({"policy_variance": 4 / 9, "value_scale": 2.0})
    level = {"logits": torch.zeros(3, 2), "values": torch.zeros(3)}
    found = {name: value.item() for name, value in measures.of_outputs(level, sampled=True).items()}
    assert found == pytest.approx(
        {"policy_variance": 0.0, "value_scale": 0.0, "policy_entropy": 0.6931472, "smallest_probability": 0.5, "logit_scale": 0.0}
    )
    assert measures.of_outputs({"logits": torch.zeros(3, 2)}, sampled=None) == {}


def test_continuous_policies_by_hand() -> None:
    # The first number is 1, 1 and -2 around 0, the second constant: variances of 2 and 0. Deviations are 1, 3, 1, 3, 1 and 3.
    said = {"means": torch.tensor([[1.0, 5.0], [1.0, 5.0], [-2.0, 5.0]]), "values": torch.tensor([2.0, -3.0, 1.0])}
    found = {name: value.item() for name, value in measures.of_outputs(said, sampled=False).items()}
    assert found == pytest.approx({"policy_variance": 2.0, "value_scale": 2.0})
    drawn = said | {"log_stds": torch.tensor([0.0, math.log(3)]).expand(3, 2)}
    assert measures.of_outputs(drawn, sampled=False)["policy_std"].item() == pytest.approx(2.0)
    assert measures.of_update(said["means"], said["means"] + 0.5, choices=False) == {"churn": torch.tensor(0.5)}


COSTLY = {
    *(f"hessian_eigenvalue/{rank}" for rank in (1, 2, 3)),
    *("reliance_mean/hidden1", "reliance_max/hidden1", "ntk_rank", "ntk_condition_number", "jacobian_norm"),
}
BY_EXAMPLE = {
    *("gradient_rank", "gradient_interference", "gradient_covariance_rank"),
    *("gradient_strength", "gradient_reliability", "readiness"),
}


def test_curvature_comes_when_asked_for_beside_an_untrained_networks() -> None:
    _, learner, diagnostics = of_labels(diagnose_every=3, curvature_every=2)
    given = batch(1, 4)
    assert row(diagnostics, given, rate=0.0) == {}
    found = row(diagnostics, given, rate=0.0)
    fresh = {name.replace("/", "_fresh/") if "/" in name else f"{name}_fresh" for name in COSTLY | BY_EXAMPLE}
    assert set(found) == COSTLY | BY_EXAMPLE | fresh  # 8 held samples are too few for pwcca
    params, network = learner.one(1), learner.network
    outputs = torch.func.jacrev(lambda inputs: network.apply(params, inputs[None])[0][0])
    by_hand = torch.stack([outputs(example).square().sum().sqrt() for example in given["inputs"][1]]).mean()
    assert found["jacobian_norm"] == pytest.approx(by_hand.item(), rel=1e-4)
    assert found["hessian_eigenvalue/1"] >= found["hessian_eigenvalue/2"] >= found["hessian_eigenvalue/3"]
    names = set(row(diagnostics, given))
    assert "loss" in names and not names & COSTLY


def test_curvature_is_off_by_default_and_without_a_field_for_it() -> None:
    assert experiment({}).curvature_every == 0
    assert not Diagnostics(of_labels()[1], experiment(LABELS))._curvature.due(20)


@pytest.mark.parametrize(
    ("agent", "names"),
    [
        (
            "ppo:num_envs=4,rollout_length=8,epochs=1,minibatches=1",
            {"policy_entropy", "policy_information", "policy_variance", "value_scale"},
        ),
        ("impala:num_envs=4,rollout_length=8", {"policy_entropy", "policy_information", "policy_variance", "value_scale"}),
        ("pqn:num_envs=4,rollout_length=8,epochs=1,minibatches=1", {"policy_variance", "value_scale"}),
    ],
)
def test_games_have_rows_of_their_policies(agent: str, names: set[str]) -> None:
    said = CARTPOLE | {"agent": agent, "benchmark": "cartpole:tasks=1,frames=640", "diagnose_every": 20, "members": 1}
    found = {event.name for event in events(experiment(said)) if isinstance(event, Metric)}
    assert {name for name in found if name.startswith(("policy_", "value_")) and not name.endswith("_fresh")} == names | {"policy_churn"}
    acting = {"smallest_probability", "logit_scale", "smallest_probability_fresh", "logit_scale_fresh"}
    assert found & acting == (acting if "policy_entropy" in names else set())
    assert {"preactivation_shift/hidden0", "gradient_l0/hidden1", "weight_norm_fresh/hidden0", "churn"} <= found


def test_a_dqn_goes_on_with_its_curvature_and_its_visits_start() -> None:
    said = CARTPOLE | {"chain": ["redo:every=7"], "curvature_every": 31, "members": 1, "diagnose_every": 11}
    found = resumed_is_never_stopped(said)
    rows = {event.name for event in found if isinstance(event, Metric)}
    assert COSTLY | BY_EXAMPLE | {"pwcca_to_start/hidden1", "units_recycled/ReDo", "cka_to_start/hidden1"} <= rows
    assert dataclasses.replace(experiment(said), curvature_every=0).key != experiment(said).key


def test_an_untrained_networks_gradient_is_on_the_same_batch() -> None:
    """Gradients by autograd; the learner's network is another."""
    _, learner, diagnostics = of_labels()
    given = batch(3)
    found = row(diagnostics, given)
    params = {name: param[1].clone().requires_grad_() for name, param in learner.fresh("reference").items()}
    outputs = learner.network.apply(params, given["inputs"][1])[0]
    torch.nn.functional.cross_entropy(outputs, given["labels"][1]).backward()
    for layer in learner.network.layers:
        gradient = torch.cat([params[name].grad.flatten() for name in layer.own])
        assert found[f"gradient_l2_fresh/{layer.name}"] == pytest.approx(gradient.norm().item(), rel=1e-4)
        assert found[f"gradient_l1_fresh/{layer.name}"] == pytest.approx(gradient.abs().sum().item(), rel=1e-4)
        assert found[f"gradient_l0_fresh/{layer.name}"] == pytest.approx((gradient != 0).float().mean().item())
        assert found[f"gradient_l2/{layer.name}"] != pytest.approx(gradient.norm().item(), rel=1e-2)


def test_dormancy_stands_beside_an_untrained_networks_on_the_same_batch() -> None:
    _, learner, diagnostics = of_labels()
    given = batch(3, examples=3)
    learner.net.params["hidden0.bias"][:, ::2] = -100.0
    found = row(diagnostics, given, rate=0.0)
    untrained = {name: param[1] for name, param in learner.fresh("reference").items()}
    for of, params in (("", learner.one(1)), ("_fresh", untrained)):
        for layer, units in learner.network.apply(params, given["inputs"][1])[1].items():
            responses = [sum(map(abs, outputs)) for outputs in units.T.tolist()]
            dormant = [response <= 0.1 * sum(responses) / len(responses) for response in responses]
            assert found[f"dormant_fraction{of}/{layer}"] == pytest.approx(sum(dormant) / len(dormant))
            assert found[f"dead_fraction{of}/{layer}"] == pytest.approx(responses.count(0.0) / len(responses))
    assert found["dormant_fraction/hidden0"] >= 0.5 > found["dormant_fraction_fresh/hidden0"] > 0


def test_processor_time_is_of_the_updates_that_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread whose clock moves by 6 ms whenever it is read: every update takes 6 ms, for two members."""
    reads = iter(range(1_000))
    monkeypatch.setattr("plasticity_rl.training.learner.time.thread_time", lambda: next(reads) * 6e-3)
    _, _, diagnostics = of_labels(diagnose_every=4)
    for number in range(8):
        update = learned(diagnostics, batch(number), 1e-2)
        found = {metric.name: metric.value for metric in rows(diagnostics, update)}
        assert found.get("processor_ms") == (pytest.approx(3.0) if number in (3, 7) else None)
    assert diagnostics._learner.spent.updates == 6 * 2  # of eight updates two were measured


def test_without_an_update_that_is_not_measured_there_is_no_processor_time() -> None:
    _, _, diagnostics = of_labels()
    assert "processor_ms" not in row(diagnostics, batch(1)) and "updates_per_second" in row(diagnostics, batch(2))
