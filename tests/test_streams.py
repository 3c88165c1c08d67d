"""Datasets and the streams on them."""

import numpy as np
import pytest
import torch

from envs import datasets
from envs.streams import BLOCK, RandomLabels
from plasticity_rl.checks import UsageError
from plasticity_rl.seeds import members_of


def test_digits_are_scikit_learns_standardised() -> None:
    from sklearn.datasets import load_digits

    inputs, labels = datasets.load("digits", 1200)
    raw = load_digits()
    assert inputs.shape == (1200, 64) and inputs.dtype == np.float32
    assert abs(inputs.mean()) < 1e-5 and abs(inputs.std() - 1) < 1e-5
    np.testing.assert_allclose(np.corrcoef(inputs.ravel(), raw.data[:1200].ravel())[0, 1], 1, atol=1e-6)
    np.testing.assert_array_equal(labels, raw.target[:1200])


def test_gaussian_images_are_always_the_same() -> None:
    one, other = datasets.load("gaussian", 100), datasets.load("gaussian", 100)
    np.testing.assert_array_equal(one[0], other[0])
    assert one[0].shape == (100, 64) and set(one[1]) <= set(range(10))


def test_fetched_data_takes_its_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(name: str, **options: object) -> tuple[np.ndarray, np.ndarray]:
        asked.append(name)
        return np.arange(20 * 3072, dtype=np.float64).reshape(20, 3072), np.array([str(i % 10) for i in range(20)])

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    inputs, labels = datasets.load("cifar10", 20)
    assert asked == ["CIFAR_10"] and inputs.shape == (20, 3, 32, 32) and labels.dtype == np.int64
    np.testing.assert_array_equal(labels, np.arange(20) % 10)
    flat = inputs.reshape(20, -1)
    np.testing.assert_allclose(np.diff(flat[0]), flat[0, 1] - flat[0, 0], atol=1e-4)  # the order of the pixels is kept


def test_without_a_network_the_bundled_ones_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    with pytest.raises(UsageError, match=r"mnist could not be fetched from openml.org .* there are: digits, gaussian"):
        datasets.load("mnist", 100)


def test_more_images_than_there_are_is_refused() -> None:
    with pytest.raises(UsageError, match="digits has 1797 images, not 1798"):
        datasets.load("digits", 1798)


def test_labels_are_a_function_of_seed_member_and_task_alone() -> None:
    stream = RandomLabels()
    again = RandomLabels(tasks=500, updates=7)
    np.testing.assert_array_equal(stream.labels(3, 1, 4), again.labels(3, 1, 4))
    for other in ((4, 1, 4), (3, 2, 4), (3, 1, 5)):
        agreement = (stream.labels(3, 1, 4) == stream.labels(*other)).mean()
        assert 0.05 < agreement < 0.15  # as often as two strangers' of ten


def test_labels_are_uniform() -> None:
    counts = np.bincount(np.concatenate([RandomLabels().labels(0, member, 0) for member in range(20)]), minlength=10)
    expected = counts.sum() / 10
    assert ((counts - expected) ** 2 / expected).sum() < 27.9  # chi-square of 9 degrees of freedom, p = 0.001


@pytest.mark.parametrize("fraction", [0.01, 0.25, 1.0])
def test_the_fraction_is_what_is_drawn_anew(fraction: float) -> None:
    stream = RandomLabels(images=1000, fraction=fraction)
    changed = np.mean([(stream.labels(0, m, t) != stream.labels(0, m, t + 1)).mean() for m in range(5) for t in range(5)])
    assert changed == pytest.approx(fraction * 0.9, abs=0.02)  # one in ten draws is the old label


def test_batches_are_the_images_with_their_labels_whoever_asks() -> None:
    stream = RandomLabels(images=50, tasks=2)
    images, labels = datasets.load("digits", 50)[0], [stream.labels(0, member, 1) for member in range(3)]
    opened, alone = stream.open(members_of(0, 3), 8, "cpu"), stream.open(members_of(0, 1), 8, "cpu")
    for update in (0, 1, BLOCK - 1, BLOCK, 5):
        batch = opened.batch(1, update)
        assert batch["inputs"].shape == (3, 8, 64) and batch["labels"].shape == (3, 8)
        for name, values in alone.batch(1, update).items():  # member 0 does not feel the others
            torch.testing.assert_close(batch[name][:1], values, rtol=0, atol=0)
        for member in range(3):
            chosen = stream.draws(0, member, 1, update // BLOCK, 8)[update % BLOCK]
            np.testing.assert_array_equal(batch["inputs"][member], images[chosen])
            np.testing.assert_array_equal(batch["labels"][member], labels[member][chosen])
    assert not torch.equal(opened.batch(1, 0)["inputs"][0], opened.batch(1, 0)["inputs"][1])
    assert not torch.equal(opened.batch(1, 0)["inputs"], opened.batch(0, 0)["inputs"])


def test_members_of_several_seeds_are_in_one_stream_what_they_are_in_their_own() -> None:
    stream = RandomLabels(images=50, tasks=2)
    mixed, own = stream.open([(7, 2), (0, 1)], 8, "cpu"), [stream.open(members_of(seed, 3), 8, "cpu") for seed in (7, 0)]
    for name, values in mixed.batch(1, 3).items():
        assert torch.equal(values, torch.stack([own[0].batch(1, 3)[name][2], own[1].batch(1, 3)[name][1]]))


def test_fingerprints_tell_streams_apart() -> None:
    base = RandomLabels(images=100, tasks=2)
    others = [RandomLabels(images=101, tasks=2), RandomLabels(images=100, tasks=3), RandomLabels(images=100, tasks=2, fraction=0.5)]
    prints = [base.fingerprint(0, 2), base.fingerprint(1, 2), base.fingerprint(0, 3), *(other.fingerprint(0, 2) for other in others)]
    assert len(set(prints)) == len(prints)
    assert base.fingerprint(0, 2) == RandomLabels(images=100, tasks=2).fingerprint(0, 2)
