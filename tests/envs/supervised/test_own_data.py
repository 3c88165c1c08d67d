"""User data sets: accepted files, and a one-line error per fault."""

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from envs.supervised import datasets, own_data
from envs.supervised.labels import NoisyLabels, PermutedLabels
from plasticity_rl import plugins
from plasticity_rl.checks import UsageError

X = np.random.default_rng(0).integers(0, 256, (30, 4, 5), dtype=np.uint8)
Y = np.arange(30) % 3
NAN = np.where(np.arange(600).reshape(30, 4, 5) == 345, np.nan, X)


def saved(folder: Path, **arrays: object) -> str:
    np.savez(folder / "own.npz", **arrays)  # type: ignore[arg-type]
    return str(folder / "own.npz")


def written(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_a_files_examples_in_order_standardised(tmp_path: Path) -> None:
    name = saved(tmp_path, x=X, y=Y)
    assert datasets.shape(name)[:3] == (30, (4, 5), 3)
    inputs, labels = datasets.load(name, 20, 10)
    np.testing.assert_allclose(inputs, (X - X.mean()) / X.std(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(labels, Y)


def test_held_out_images_are_of_the_files_test_set(tmp_path: Path) -> None:
    name = saved(tmp_path, x=X, y=Y, x_test=255 - X[:8], y_test=2 - Y[:8])
    inputs, labels = datasets.load(name, 10, 4)
    raw = np.concatenate([X[:10], 255 - X[:4]])
    np.testing.assert_allclose(inputs, (raw - raw.mean()) / raw.std(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(labels, [*Y[:10], *(2 - Y[:4])])
    assert NoisyLabels(dataset=name, images=30, held_out=8).load()[0].shape == (38, 4, 5)
    with pytest.raises(UsageError, match=r"held_out must lie in \[0, 8\], not 9"):
        NoisyLabels(dataset=name, images=10, held_out=9)
    with pytest.raises(UsageError, match="has 8 test images, not 9"):
        datasets.load(name, 10, 9)


def test_tables_hold_a_column_of_labels_and_numbers(tmp_path: Path) -> None:
    import pandas

    comma = written(tmp_path, "own.csv", "# note\na,Label,b\n1,0,2.5\n-3,1,4\n")
    (tmp_path / "other.CSV").write_text("a;label;b\n1;0;2.5\n-3;1;4\n", encoding="utf-16")
    pandas.DataFrame({"a": [1, -3], "label": [0, 1], "b": [2.5, 4]}).to_parquet(tmp_path / "own.parquet")
    for name in (comma, str(tmp_path / "other.CSV"), str(tmp_path / "own.parquet")):
        found = own_data.read(name)
        np.testing.assert_array_equal(found.x, [[1, 2.5], [-3, 4]])
        np.testing.assert_array_equal(found.y, [0, 1])


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match="pip install pyarrow"):
        own_data.read(written(tmp_path, "own.parquet", "PAR1"))


@pytest.mark.parametrize(
    ("arrays", "error"),
    [
        (dict(x=X), r"lacks y: it needs x \(n, ...\) and y \(n,\)"),
        (dict(x=X, y=Y, x_test=X), "lacks y_test"),
        (dict(x=X, y=Y, x_tset=X), "unknown array 'x_tset'; did you mean x_test?"),
        (dict(x=X.astype(str), y=Y), "x has dtype <U3; it must hold numbers, uint8 or float"),
        (dict(x=X * 1j, y=Y), "x has dtype complex128"),
        (dict(x=np.array([{}] * 30), y=Y), "holds Python objects"),
        (dict(x=X.ravel(), y=Y), r"x has shape \(600,\); it must be \(n, ...\)"),
        (dict(x=X[:, :0], y=Y), r"x has shape \(30, 0, 5\)"),
        (dict(x=np.zeros((30, 1, 1, 1, 1)), y=Y), "one to three dimensions"),
        (dict(x=np.zeros((2, 1000, 1001), np.uint8), y=[0, 1]), "one has at most 1000000 numbers"),
        (dict(x=NAN, y=Y), r"x\[17\] holds NaN"),
        (dict(x=np.full((30, 2), 1e30), y=Y), r"x\[0\] holds NaN, infinity or a number beyond 1e\+15"),
        (dict(x=X, y=Y[:7]), r"y has shape \(7,\); 30 examples need \(30,\)"),
        (dict(x=X, y=Y[:, None]), r"y has shape \(30, 1\)"),
        (dict(x=X, y=Y.astype(str)), "y has dtype <U21; it must hold classes"),
        (dict(x=X, y=Y + 0.5), r"y\[0\] is 0.5; labels must be classes, 0 to k-1"),
        (dict(x=X, y=Y - 1), r"y\[0\] is -1; labels must be classes"),
        (dict(x=X, y=np.where(Y == 1, np.nan, Y)), r"y\[1\] is NaN"),
        (dict(x=X, y=Y + 1), "of 0 to 3 class 0 has no example"),
        (dict(x=X, y=Y, x_test=X[:, :3], y_test=Y), r"examples of x_test have shape \(3, 5\), those of x \(4, 5\)"),
        (dict(x=X, y=Y, x_test=X, y_test=Y + 1), "y_test holds class 3, but y only 0 to 2"),
    ],
)
def test_a_bad_array_is_refused_in_one_line(arrays: dict[str, object], error: str, tmp_path: Path) -> None:
    refused(saved(tmp_path, **arrays), error)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "has no rows"),
        ("a,label\n", "has no rows"),
        ("a,b\n1,0\n", "has no column label"),
        ("label,a,label\n0,1,0\n", "has several columns label"),
        ("a,label\n1,0\nfour,0\n", "column a holds 'four' in example 1"),
        ("a,label\n1,cat\n", "column label holds 'cat' in example 0"),
        ("a,label\n1,0\n,1\n", r"x\[1\] holds NaN"),
        ("a,label\n1,0\n1,0,5\n", "Expected 2 fields in line 2, saw 3"),
        ("a,label\n1,0,5\n1,0,5\n", "has 3 cells in its rows, and 2 columns"),
    ],
)
def test_a_bad_table_is_refused_in_one_line(text: str, error: str, tmp_path: Path) -> None:
    refused(written(tmp_path, "own.csv", text), error)


def test_damaged_and_missing_files_are_refused_in_one_line(tmp_path: Path) -> None:
    name = saved(tmp_path, x=X, y=Y)
    whole = Path(name).read_bytes()
    for content, error in (
        (whole[:300], "own.npz is damaged: File is not a zip file"),
        (whole[:200] + b"\xff" + whole[201:], "own.npz is damaged: Bad CRC-32"),
        (b"\x93NUMPY", "is not an .npz file"),
        (b"", "is not an .npz file"),
    ):
        Path(name).write_bytes(content)
        refused(name, error)
    refused(str(tmp_path / "gone.npz"), "cannot read .*gone.npz: No such file")
    refused(written(tmp_path, "own.parquet", "PAR1 and more"), "is not a readable .parquet file")
    refused(written(tmp_path, "own.npy", ""), "own.npy is not one of the files that hold data sets: .npz, .csv, .parquet")


def test_a_changed_file_is_another_one(tmp_path: Path) -> None:
    """Changes within one process, too; the fingerprint omits examples that a run does not see."""
    stream = PermutedLabels(dataset=saved(tmp_path, x=X, y=Y), images=20, tasks=2)
    before = stream.fingerprint(0, 2)
    for example, same in ((19, False), (20, True)):
        changed = X.copy()
        changed[example, 0, 0] ^= 1
        saved(tmp_path, x=changed, y=Y)
        assert (stream.fingerprint(0, 2) == before) == same


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    written(
        tmp_path,
        "some_data.py",
        textwrap.dedent("""
            def pair(): return [[1.0], [2.0], [3.0]], [0, 1, 1]
            def tested(): return *pair(), [[4.0]], [0]
            def single(): return [1, 2]
            def broken(): return {}["x"]
            def ragged(): return [[1], [1, 2]], [0, 1]
        """),
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "_allowed", ["some_data"])
    yield "some_data"
    sys.modules.pop("some_data", None)


def test_a_plugins_function_returns_the_arrays(module: str) -> None:
    np.testing.assert_array_equal(own_data.read(f"{module}.pair").x, [[1], [2], [3]])
    assert datasets.shape(f"{module}.tested")[:3] == (3, (1,), 2) and datasets.shape(f"{module}.tested").tests == 1
    refused(f"{module}.single", r"single must return arrays: \(x, y\) or")
    refused(f"{module}.broken", "broken failed: KeyError: 'x'")
    refused(f"{module}.ragged", "ragged failed: ValueError")
    refused(f"{module}.pear", "unknown function 'some_data.pear'; did you mean some_data.pair?")
    refused("other_data.pair", "module 'other_data' is not allowed to be imported; --plugin other_data allows it")


def refused(name: str, error: str) -> None:
    own_data._read.cache_clear()
    with pytest.raises(UsageError, match=error) as caught:
        datasets.shape(name)
    assert "\n" not in str(caught.value)
