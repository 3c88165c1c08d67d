"""Images with labels, small enough to sit in memory. Imports no torch."""

from typing import Literal, NamedTuple

import numpy as np

from plasticity_rl.checks import UsageError

Name = Literal["digits", "mnist", "cifar10", "gaussian"]


class Shape(NamedTuple):
    """What is known of a dataset before it is loaded."""

    images: int
    inputs: tuple[int, ...]
    """of one image"""
    classes: int
    openml: str | None
    """its name on openml.org; None where nothing need be fetched"""


SHAPES: dict[str, Shape] = {
    "digits": Shape(1797, (64,), 10, None),  # bundled with scikit-learn: 8 x 8 handwritten digits, real
    "gaussian": Shape(10_000, (64,), 10, None),  # independent normal pixels: nothing to generalise, only to memorise
    "mnist": Shape(70_000, (784,), 10, "mnist_784"),
    "cifar10": Shape(60_000, (3, 32, 32), 10, "CIFAR_10"),
}


def load(name: str, images: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `images` of a dataset: inputs (images, *shape) float32 with mean 0 and standard deviation 1 over all pixels, and the true
    labels (images,) int64. MNIST and CIFAR-10 are fetched once and kept in scikit-learn's data folder.

    Raises UsageError where there are fewer images, or where they cannot be fetched.
    """
    shape = SHAPES[name]
    if images > shape.images:
        raise UsageError(f"{name} has {shape.images} images, not {images}")
    inputs, labels = _read(name, shape)
    inputs = inputs[:images].reshape(images, *shape.inputs).astype(np.float32)
    return (inputs - inputs.mean()) / inputs.std(), labels[:images].astype(np.int64)


def _read(name: str, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    from sklearn import datasets

    if name == "gaussian":
        random = np.random.default_rng(0)
        return random.standard_normal((shape.images, *shape.inputs)), random.integers(shape.classes, size=shape.images)
    if name == "digits":
        inputs, labels = datasets.load_digits(return_X_y=True)
        return np.asarray(inputs), np.asarray(labels)
    try:
        inputs, labels = datasets.fetch_openml(shape.openml, version=1, as_frame=False, parser="liac-arff", return_X_y=True)
    except OSError as error:
        bundled = ", ".join(other for other, known in SHAPES.items() if known.openml is None)
        raise UsageError(f"{name} could not be fetched from openml.org ({error}); without a network there are: {bundled}") from error
    return np.asarray(inputs), np.asarray(labels)
