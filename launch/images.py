"""What runs hand to TensorBoard as numbers, as pictures (height, width, 3) of bytes."""

from io import BytesIO

import numpy as np

SCALE = 2  # pixels for one of an observation, either way


def tiled(inputs: np.ndarray) -> np.ndarray:
    """Inputs of a network (examples, *shape) side by side: images of 3 channels in colour, the newest of other stacks in grey, and
    vectors below each other as bars, between the smallest and the largest number of all."""
    if inputs.ndim != 4:
        inputs = inputs.reshape(1, 1, len(inputs), -1).repeat(8, 3)
    shown = inputs if inputs.shape[1] == 3 else inputs[:, -1:].repeat(3, 1)
    if shown.dtype != np.uint8:
        low, high = shown.min(), shown.max()
        shown = ((shown - low) / (high - low if high > low else 1) * 255).astype(np.uint8)
    row = np.concatenate(list(shown.transpose(0, 2, 3, 1)), axis=1)
    return row.repeat(SCALE, 0).repeat(SCALE, 1)


def drawn(spectra: np.ndarray) -> np.ndarray:
    """Singular values (2, k) over their largest, on a logarithmic axis: the network's, and an untrained one's."""
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(5, 3.2), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    for values, name, style in zip(spectra, ("this network", "untrained"), ("-", "--"), strict=True):
        shares = np.maximum(values / values[0] if values[0] > 0 else values, 1e-8)
        axes.semilogy(range(1, len(values) + 1), shares, style, color="tab:blue" if style == "-" else "tab:gray", label=name)
    axes.set(xlabel="singular value", ylabel="over the largest", ylim=(1e-6, 2))
    axes.legend(frameon=False)
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer).convert("RGB"))
