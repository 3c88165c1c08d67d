"""Images (height, width, 3) uint8 for TensorBoard, made from a run's arrays."""

from io import BytesIO

import numpy as np

WIDTH = 512  # approximate width in pixels of a row of observations
ROW = 4  # number of images side by side
BAR = 24  # pixels: height of a vector


def tiled(inputs: np.ndarray) -> np.ndarray:
    """Draw network inputs (examples, *shape) as one image: images four to a row, in colour if they have 3 channels, otherwise the newest
    frame in grey; vectors below each other, one cell per number, scaled from the overall minimum to the maximum."""
    images = inputs.ndim == 4
    shown = inputs if images else inputs.reshape(len(inputs), 1, 1, -1)
    shown = shown if shown.shape[1] == 3 else shown[:, -1:].repeat(3, 1)
    if shown.dtype != np.uint8:
        low, high = shown.min(), shown.max()
        shown = ((shown - low) / (high - low if high > low else 1) * 255).astype(np.uint8)
    across = ROW if images else 1
    shown = np.concatenate([shown, np.zeros_like(shown[: -len(shown) % across])]).transpose(0, 2, 3, 1)
    rows = [np.concatenate(list(shown[first : first + across]), axis=1) for first in range(0, len(shown), across)]
    scale = max(WIDTH // rows[0].shape[1], 1)
    return np.concatenate(rows).repeat(scale if images else BAR, 0).repeat(scale, 1)


def drawn(spectra: np.ndarray) -> np.ndarray:
    """Plot singular values (2, k), the network's and an untrained one's, relative to the largest, on a logarithmic axis."""
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(5, 3.2), dpi=100)  # fixed margins and no minor ticks: a third of the time of a layout that fits
    figure.subplots_adjust(left=0.15, right=0.97, bottom=0.16, top=0.96)
    axes = figure.add_subplot()
    for values, name, style in zip(spectra, ("this network", "untrained"), ("-", "--"), strict=True):
        shares = np.maximum(values / values[0] if values[0] > 0 else values, 1e-8)
        axes.semilogy(range(1, len(values) + 1), shares, style, color="tab:blue" if style == "-" else "tab:gray", label=name)
    axes.set(xlabel="singular value", ylabel="over the largest", ylim=(1e-6, 2))
    axes.minorticks_off()
    axes.legend(frameon=False)
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer).convert("RGB"))
