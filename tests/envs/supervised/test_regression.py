"""Regression streams, their learning and scores."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm

from agents.supervised import Supervised
from envs.supervised import datasets
from envs.supervised.composite import Composite
from envs.supervised.regression import LargeMean, SlowBits, Teachers, random_function
from launch.config.parse import experiment
from plasticity_rl.checks import UsageError
from plasticity_rl.networks.network import Network
from plasticity_rl.seeds import derive
from plasticity_rl.training.learner import Learner
from tests.training import LABELS, events, resumed_is_never_stopped, scores

LINE = LABELS | {
    "benchmark": "large-mean:images=60,tasks=2,updates=60,offset=20",
    "agent": "supervised:objective=mse,batch_size=8,record_every=15",
}


def numbers(stream: LargeMean | Teachers | Composite, index: int, member: int = 0) -> np.ndarray:
    labels = stream.task(0, member, index).labels
    assert labels is not None and labels.dtype == np.float32
    return labels


@pytest.mark.parametrize("function", ["network", "sine"])
def test_random_functions_are_standardised_and_those_that_should_be_are_smooth(function: str) -> None:
    inputs = datasets.load("gaussian-20", 2000)[0]
    near = inputs + 1e-3
    outputs, beside = (random_function(each, function, np.random.default_rng(3)) for each in (inputs, near))  # type: ignore[arg-type]
    assert abs(outputs.mean()) < 1e-2 and abs(outputs.std() - 1) < 1e-2 and abs(outputs).max() <= 4
    assert (np.corrcoef(outputs, beside)[0, 1] > 0.99) == (function == "network")


def test_a_random_network_is_what_it_says() -> None:
    inputs = datasets.load("gaussian-5", 50)[0]
    random = np.random.default_rng(3)
    first, second = random.standard_normal((5, 100)), random.standard_normal(100)
    outputs = np.array([sum(np.tanh(image @ first / 5**0.5) * second) / 10 for image in inputs.astype(float)])
    np.testing.assert_allclose(
        random_function(inputs, "network", np.random.default_rng(3)), (outputs - outputs.mean()) / outputs.std(), atol=6e-5
    )


def test_only_the_first_task_has_the_large_mean() -> None:
    stream = LargeMean(images=500, tasks=3, offset=100.0)
    means = [numbers(stream, index).mean() for index in range(3)]
    assert means == pytest.approx([100, 0, 0], abs=0.05)
    assert [numbers(stream, index).std() for index in range(3)] == pytest.approx([1, 1, 1], abs=0.05)
    for index in range(3):  # the functions are the same in any case
        plain = numbers(replace(stream, offset=0.0), index)
        np.testing.assert_allclose(numbers(stream, index) - (100 if index == 0 else 0), plain, atol=1e-4)
    assert stream.target_range == (-4, 104)
    assert abs(np.corrcoef(numbers(stream, 1), numbers(stream, 2))[0, 1]) < 0.9 and not np.allclose(
        numbers(stream, 1), numbers(stream, 1, 1)
    )


def test_teachers_have_the_scale_and_mean_that_are_asked_for() -> None:
    stream = Teachers(images=500, scale=3.0, offset=-5.0)
    assert numbers(stream, 7).mean() == pytest.approx(-5, abs=0.05) and numbers(stream, 7).std() == pytest.approx(3, abs=0.1)
    assert stream.target_range == (-17, 7) and stream.target_range[0] <= numbers(stream, 7).min()


def test_a_composite_changes_all_at_once_and_in_equal_steps() -> None:
    stream = Composite(images=1500, tasks=3, input_scale=9.0, brightness=2.0, target_scale=100.0, target_offset=50.0, fraction=0.25)
    tasks = [stream.task(0, 0, index) for index in range(3)]
    assert [(task.scale, task.shift) for task in tasks] == [(1, 0), (3, 1), (9, 2)]
    assert [numbers(stream, index).std() for index in range(3)] == pytest.approx([1, 10, 100], rel=0.1)
    assert numbers(stream, 2).mean() == pytest.approx(50, abs=10)
    plain = [(numbers(stream, index) - 25 * index) / 10**index for index in range(3)]
    assert [(~np.isclose(plain[index], plain[index + 1], atol=1e-4)).mean() for index in range(2)] == [0.25, 0.25]
    assert stream.target_range == (-400, 450)


def test_one_slow_bit_flips_at_a_time_and_fast_ones_take_all_values() -> None:
    stream = SlowBits(tasks=50)
    shifts = np.array([stream.task(0, 0, index).shift for index in range(50)])
    assert set(shifts.ravel()) == {0, 1} and (shifts[:, 15:] == 0).all()
    np.testing.assert_array_equal(np.abs(np.diff(shifts, axis=0)).sum(1), np.ones(49))
    inputs = stream.open([(0, 0)], 200, "cpu").batch(7, 0)["inputs"][0].numpy()
    np.testing.assert_array_equal(inputs[:, :15], np.tile(shifts[7, :15], (200, 1)))
    assert len({tuple(row) for row in inputs[:, 15:].tolist()}) == 32 and set(inputs.ravel()) == {0, 1}


def test_every_slow_bit_flips_equally_often() -> None:
    stream = SlowBits(slow=5)
    first, last = (np.array([stream.task(0, member, index).shift for member in range(2000)]) for index in (0, 1))
    counts = np.abs(first - last).sum(0)[:5]
    assert counts.sum() == 2000 and ((counts - 400) ** 2 / 400).sum() < 18.5  # chi-square of 4 degrees of freedom, p = 0.001
    assert first[:, :5].mean() == pytest.approx(0.5, abs=0.017)  # 3.4 standard errors of 10,000 bits


def test_the_target_of_bits_is_a_threshold_network_unit_by_unit() -> None:
    stream = SlowBits(slow=3, fast=2, hidden=7, beta=0.7)
    bits = np.array([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
    random = np.random.default_rng(derive(5, 2, "target"))
    weights, biases = random.choice([-1, 1], (7, 5)), random.choice([-1, 1], 7)
    outgoing, bias = random.choice([-1, 1], 7), random.choice([-1, 1])
    expected = []
    for row in bits:
        outputs = bias
        for unit in range(7):
            negative = (5 - weights[unit].sum() + biases[unit]) / 2
            outputs += outgoing[unit] * (sum(weights[unit] * row) + biases[unit] > 0.7 * 6 - negative)
        expected.append(outputs)
    np.testing.assert_array_equal(stream.target(5, 2, bits), expected)


def test_variance_is_the_error_of_the_best_constant() -> None:
    stream = Teachers(images=50, scale=3.0)
    opened = stream.open([(0, 0), (0, 1)], 4, "cpu")
    np.testing.assert_allclose(opened.variance(1), [np.var(numbers(stream, 1, member)) for member in range(2)], rtol=1e-5)


def test_a_resumed_regression_is_one_that_was_never_stopped() -> None:
    resumed_is_never_stopped(LINE | {"benchmark": "teachers:images=60,tasks=3,updates=40,held_out=20", "chain": ["nap", "redo:every=10"]})


def test_scores_are_explained_variance_of_a_plain_reading() -> None:
    made = experiment(LINE | {"members": 1, "schedule": "constant:rate=1e-9", "diagnose_every": 15})
    found = events(made)
    network = Network(made.network, made.benchmark.inputs, 1)
    params = Learner(network, lambda *_: (torch.zeros(()), {}), made.optimizer, (), 1, made.seed, compile=False).one(0)
    stream, expected = made.benchmark.open([(0, 0)], 8, "cpu"), []
    for visit in range(2):
        labels = numbers(made.benchmark, visit)
        for start in range(0, 60, 15):
            errors = []
            for update in range(start, start + 15):
                batch = stream.batch(visit, update)
                errors += ((network.apply(params, batch["inputs"][0])[0][:, 0] - batch["labels"][0]) ** 2).tolist()
            expected.append(max(0.0, 1 - np.mean(errors) / labels.var()))
    assert [score.score for score in scores(found, "online")] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("objective", ["mse", "two-hot", "hl-gauss"])
def test_every_objective_learns_a_function(objective: str) -> None:
    words = LINE | {
        "benchmark": "teachers:images=60,tasks=1,updates=400,offset=3",
        "agent": f"supervised:objective={objective},batch_size=16,record_every=50,low=-1,high=7",
        "schedule": "constant:rate=1e-2",
        "diagnose_every": 400,
        "members": 1,
    }
    found = scores(events(experiment(words)), "online")
    assert found[-1].score > 0.8 and 0 <= found[0].score < found[-1].score


def test_two_hot_and_gaussian_shares_by_hand() -> None:
    agent = Supervised(objective="two-hot", num_atoms=6, low=-1, high=24)  # atoms at -1, 4, 9, 14, 19, 24
    shares = agent._shares(torch.tensor([4.0, 5.0, 30.0]))
    torch.testing.assert_close(shares, torch.tensor([[0, 1, 0, 0, 0, 0], [0, 0.8, 0.2, 0, 0, 0], [0, 0, 0, 0, 0, 1.0]]))
    gaussian = replace(agent, objective="hl-gauss")._shares(torch.tensor([5.0]))[0]
    edges = norm(5, 3.75).cdf([-3.5, 1.5, 6.5, 11.5, 16.5, 21.5, 26.5])
    np.testing.assert_allclose(gaussian, np.diff(edges) / (edges[-1] - edges[0]), atol=1e-5)
    outputs = torch.log(torch.tensor([[0, 0.5, 0.5, 0, 0, 0]]))
    assert agent.measure(outputs, torch.tensor([6.0])).item() == pytest.approx(0.25)  # 6.5 is predicted


def test_the_two_hot_loss_is_the_cross_entropy_with_the_shares() -> None:
    made = experiment(LINE | {"agent": "supervised:objective=two-hot,num_atoms=6,low=-4,high=24"})
    network = Network(made.network, made.benchmark.inputs, made.agent.heads(made.benchmark))
    params = network.init(torch.Generator().manual_seed(0))
    batch = {"inputs": torch.randn(5, 64), "labels": torch.tensor([-4.0, 0.0, 1.6, 19.0, 24.0])}
    loss, reported = made.agent.loss(network, params, batch)
    logits = network.apply(params, batch["inputs"])[0].detach()
    assert logits.shape == (5, 6)
    assert loss.item() == pytest.approx(torch.nn.functional.cross_entropy(logits, made.agent._shares(batch["labels"])).item(), rel=1e-5)
    predicted = (logits.softmax(-1) * torch.tensor([-4, 1.6, 7.2, 12.8, 18.4, 24])).sum(-1)
    assert reported["measured"].item() == pytest.approx(((predicted - batch["labels"]) ** 2).mean().item(), rel=1e-5)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ({"agent": "supervised:objective=cross-entropy"}, "LargeMean has numbers to predict: objective must be mse, two-hot or hl-gauss"),
        ({"benchmark": "random-labels"}, "RandomLabels has classes to predict: objective must be cross-entropy, not mse"),
        ({"agent": "supervised:objective=two-hot"}, "targets of LargeMean lie in .-4, 24.: low and high must enclose them"),
        ({"agent": "supervised:low=3,high=3"}, r"high must lie in \(3.0, inf\)"),
    ],
)
def test_what_does_not_fit_is_refused(words: dict[str, str], error: str) -> None:
    with pytest.raises(UsageError, match=error):
        experiment(LINE | words)
