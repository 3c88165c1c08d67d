import math

import numpy as np
import pytest
import torch

from plasticity_rl.metrics import ranks
from plasticity_rl.training.lift import lift

pytestmark = pytest.mark.usefixtures("double")

METRICS = (ranks.stable_rank, ranks.effective_rank, ranks.srank, ranks.feature_rank)


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_diagonal_by_hand():
    # Others have returned 4 for the stable rank of this matrix, which is its srank.
    features = torch.diag(torch.tensor([10.0, 1.0, 1.0, 1.0]))
    entropy = -10 / 13 * math.log(10 / 13) - 3 / 13 * math.log(1 / 13)
    assert ranks.singular_values(features).tolist() == pytest.approx([10, 1, 1, 1])
    assert ranks.stable_rank(features).item() == pytest.approx(1.03, abs=1e-12)
    assert ranks.effective_rank(features).item() == pytest.approx(math.exp(entropy), abs=1e-12)
    assert ranks.srank(features).item() == 4
    assert ranks.feature_rank(features).item() == 4


@pytest.mark.parametrize(("delta", "expected"), [(0.01, 4), (0.1, 3), (0.2, 2), (0.25, 1), (0.9, 1)])
def test_srank_counts_up_to_its_share(delta, expected):
    # The shares are 10/13 = 0.769, 0.846, 0.923, 1
    assert ranks.srank(torch.diag(torch.tensor([10.0, 1.0, 1.0, 1.0])), delta).item() == expected


def test_feature_rank_depends_on_the_scale_and_not_on_repeated_samples():
    features = torch.diag(torch.tensor([10.0, 1.0, 0.03, 0.01]))  # over sqrt(4): 5, 0.5, 0.015, 0.005
    assert ranks.feature_rank(features).item() == 3
    assert ranks.feature_rank(features.repeat(9, 1)).item() == 3
    assert ranks.feature_rank(features * 10).item() == 4
    assert ranks.feature_rank(features, eps=1.0).item() == 1


@pytest.mark.parametrize("metric", METRICS)
def test_a_batch_of_one_direction_has_every_rank_1(metric):
    features = torch.outer(random(0, 9), random(1, 5))
    assert metric(features).item() == pytest.approx(1.0, abs=1e-6)
    assert metric(features[:1]).item() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_zeros_have_every_rank_0(metric):
    assert metric(torch.zeros(6, 4)).item() == 0.0
    assert metric(torch.zeros(1, 4)).item() == 0.0


@pytest.mark.parametrize("metric", METRICS)
def test_equal_directions_count_each(metric):
    assert metric(torch.linalg.qr(random(2, 8, 5)).Q * 3).item() == pytest.approx(5.0, abs=1e-9)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e15])
@pytest.mark.parametrize("metric", METRICS[:3])
def test_the_scale_does_not_matter(metric, scale):
    features = random(3, 12, 6).float()
    assert metric(features * scale).item() == pytest.approx(metric(features).item(), rel=1e-6)


@pytest.mark.parametrize("shape", [(40, 7), (7, 40)])
def test_ranks_are_those_of_numpy_by_eigenvalues_and_loops(shape):
    features = random(4, *shape) * torch.linspace(0.01, 3, shape[1])
    numbers = features.numpy()
    smaller = numbers.T @ numbers if shape[0] > shape[1] else numbers @ numbers.T
    sigma = sorted(np.sqrt(np.linalg.eigvalsh(smaller).clip(0)), reverse=True)
    shares = [each / sum(sigma) for each in sigma]
    total, k = 0.0, 0
    while total < 0.99:
        total, k = total + shares[k], k + 1
    expected = {
        "stable_rank": sum(each**2 for each in sigma) / sigma[0] ** 2,
        "effective_rank": math.exp(-sum(p * math.log(p) for p in shares)),
        "srank": k,
        "feature_rank": sum(each / math.sqrt(shape[0]) > 0.01 for each in sigma),
    }
    assert {name: rank.item() for name, rank in ranks.ranks(features).items()} == pytest.approx(expected, abs=1e-9)
    assert {metric.__name__: metric(features).item() for metric in METRICS} == pytest.approx(expected, abs=1e-9)


def test_small_singular_values_survive():
    # In the Gram matrix, 1e-9 squared would be lost beside 1.
    rotation, other = torch.linalg.qr(random(5, 9, 3)).Q, torch.linalg.qr(random(6, 3, 3)).Q
    features = rotation @ torch.diag(torch.tensor([1.0, 1e-6, 1e-9])) @ other
    assert ranks.singular_values(features).tolist() == pytest.approx([1.0, 1e-6, 1e-9], rel=1e-5)


def test_lifted_is_a_loop():
    features = random(7, 3, 20, 6) * torch.linspace(0, 1, 6)
    features[1] = 0
    lifted = lift(ranks.ranks)(features)
    for name, values in lifted.items():
        assert values.tolist() == pytest.approx([ranks.ranks(each)[name].item() for each in features], abs=1e-12)


def test_single_precision_is_decomposed_in_double():
    features = random(8, 30, 5).float()
    assert ranks.effective_rank(features).dtype == torch.float64
    assert torch.equal(ranks.singular_values(features), ranks.singular_values(features.double()))
