"""Datasets: the meaning of a word, sources, and refusals."""

import gzip
import warnings
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from envs.supervised import datasets
from plasticity_rl.checks import UsageError


@pytest.fixture(autouse=True)
def forgetful() -> None:
    """Isolate the cache of each test."""
    datasets._load.cache_clear()


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
    monkeypatch.setitem(datasets.SHAPES, "cifar10", datasets.SHAPES["cifar10"]._replace(images=20))
    inputs, labels = datasets.load("cifar10", 20)
    assert asked == ["CIFAR_10"] and inputs.shape == (20, 3, 32, 32) and labels.dtype == np.int64
    np.testing.assert_array_equal(labels, np.arange(20) % 10)
    flat = inputs.reshape(20, -1)
    np.testing.assert_allclose(np.diff(flat[0]), flat[0, 1] - flat[0, 0], atol=1e-4)  # the order of the pixels is kept


def test_without_a_network_the_bundled_ones_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: object, **__: object) -> None:
        warnings.warn("A network error occurred; retrying", stacklevel=1)  # an error here, unless it is silenced
        raise OSError("Network is unreachable")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    with pytest.raises(
        UsageError,
        match=r"^cifar10 could not .* \(Network is unreachable\); available without a network: digits, gaussian, clusters, atari-frames$",
    ):
        datasets.load("cifar10", 100)


def test_more_images_than_there_are_is_refused() -> None:
    with pytest.raises(UsageError, match="digits has 1797 images, not 1798"):
        datasets.load("digits", 1798)


def test_a_file_that_is_not_what_openml_published_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: object, **__: object) -> None:  # as scikit-learn does where the MD5 differs
        raise ValueError("md5 checksum of local file does not match description: expected: 1 but got 2.\nMore.")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    with pytest.raises(UsageError, match=r"\(md5 checksum of local file does not match description: expected: 1 but got 2.\); available"):
        datasets.load("cifar100", 100)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda packed: packed[:-2000], r"cannot be read \(Compressed file ended before .*\); install scikit-learn again$"),
        (lambda packed: packed[:1000] + bytes(500) + packed[1500:], r"cannot be read \(.+\); install scikit-learn again$"),
        (lambda packed: gzip.compress(b"".join(gzip.decompress(packed).splitlines(True)[:900])), r"has shape \(900, 64\) and 10 classes$"),
    ],
    ids=["cut short", "changed", "rows missing"],
)
def test_scikit_learns_own_file_is_refused_where_it_is_damaged(
    damage: Callable[[bytes], bytes], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = resources.files
    (tmp_path / "digits.csv.gz").write_bytes(damage((files("sklearn.datasets.data") / "digits.csv.gz").read_bytes()))
    monkeypatch.setattr(resources, "files", lambda module: tmp_path if module == "sklearn.datasets.data" else files(module))
    with pytest.raises(UsageError, match=f"^scikit-learn's file of digits {message}") as caught:
        datasets.load("digits", 100)
    assert "\n" not in str(caught.value)


def test_a_download_that_was_cut_short_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: object, **__: object) -> None:  # as scikit-learn does after two of those
        raise EOFError("Compressed file ended before the end-of-stream marker was reached")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    with pytest.raises(UsageError, match=r"^cifar10 could not be downloaded from openml.org \(Compressed file ended"):
        datasets.load("cifar10", 100)


def test_another_dataset_of_that_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda *_, **__: (np.zeros((100, 3072)), np.arange(100) % 20))
    with pytest.raises(UsageError, match=r"the download of cifar100 from openml.org has shape \(100, 3072\) and 20 classes"):
        datasets.load("cifar100", 100)


def test_generated_words_say_size_classes_and_seed() -> None:
    assert datasets.shape("gaussian")[1:3] == ((64,), 10) and datasets.shape("gaussian").seed == 0
    assert datasets.shape("clusters-3x32x32-100-7")[1:5] == ((3, 32, 32), 100, None, 7)
    inputs, labels = datasets.load("clusters-3x8x8-4-7", 50)
    assert inputs.shape == (50, 3, 8, 8) and inputs.dtype == np.float32 and set(labels) == {0, 1, 2, 3}
    assert not np.array_equal(inputs, datasets.load("clusters-3x8x8-4-8", 50)[0])
    assert not np.array_equal(inputs, datasets.load("gaussian-3x8x8-4-7", 50)[0])


@pytest.mark.parametrize("kind", ["gaussian-5", "clusters-5"])
def test_the_first_generated_images_do_not_depend_on_how_many_there_are(kind: str) -> None:
    few, many = datasets._generate(kind, datasets.shape(kind), 10), datasets._generate(kind, datasets.shape(kind), 1000)
    for one, other in zip(few, many, strict=True):
        np.testing.assert_array_equal(one, other[:10])


def test_clusters_are_classes_and_gaussian_images_are_not() -> None:
    """A nearest-mean classifier of one half, run on the other."""
    accuracies = []
    for kind in ("clusters-100", "gaussian-100"):
        inputs, labels = datasets.load(kind, 4000)
        means = np.stack([inputs[:2000][labels[:2000] == each].mean(0) for each in range(10)])
        nearest = ((inputs[2000:, None] - means) ** 2).sum(-1).argmin(-1)
        accuracies.append((nearest == labels[2000:]).mean())
    assert accuracies[0] > 0.9 and abs(accuracies[1] - 0.1) < 0.03


@pytest.mark.parametrize(
    ("name", "images", "error"),
    [
        ("mnits", 1, "unknown dataset 'mnits'; did you mean mnist?"),
        ("gaussian-0", 1, "gaussian-0: after gaussian- comes a size"),
        ("gaussian-3x", 1, "after gaussian- comes a size"),
        ("clusters-2x2x2x2", 1, "after clusters- comes a size"),
        ("clusters-2000000", 1, "an example has at most 1000000 numbers"),
        ("gaussian-100000", 20_000, "20000 images would take more than 4 GiB; at most 10737 fit"),
    ],
)
def test_bad_sizes_are_refused_in_one_line(name: str, images: int, error: str) -> None:
    with pytest.raises(UsageError, match=error) as caught:
        datasets.load(name, images)
    assert "\n" not in str(caught.value)


def test_what_is_loaded_cannot_be_changed_for_others() -> None:
    with pytest.raises(ValueError, match="read-only"):
        datasets.load("digits", 10)[0][0] = 1
