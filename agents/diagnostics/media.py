"""Media of a run at every checkpoint: histograms, images and spectra, logged to TensorBoard only."""

from collections.abc import Iterator
from typing import Any

import torch

from plasticity_rl.metrics.ranks import singular_values
from plasticity_rl.networks.layers import Params, last_active
from plasticity_rl.records.events import Media
from plasticity_rl.training.learner import Learner

VALUES = 4096  # maximum values per histogram; our choice
EXAMPLES = 8


@torch.no_grad()
def media(learner: Learner, untrained: Params, where: dict[str, Any]) -> Iterator[Media]:
    """Media from the latest batch: preactivations of all members per layer; for the first member, a few observations, and the singular
    values of the penultimate features, of its own network and of the `untrained` one.

    Yields nothing before the first update, or if a preactivation is not finite: the run's next row reports that.
    """
    if learner.inputs is None:
        return
    inputs, raw = learner.inputs, learner.features(learner.net.params, learner.inputs, raw=True)
    if not all(units.isfinite().all() for units in raw.values()):
        return
    for layer, units in raw.items():
        values = units.flatten()[:: -(-units.numel() // VALUES)]
        yield Media(**where, name=f"preactivations/{layer}", kind="histogram", values=values.float().cpu().numpy())
    yield Media(**where, name="observations", kind="image", values=inputs[0, :EXAMPLES].cpu().numpy())
    features = [learner.features(params, inputs) for params in (learner.net.params, untrained)]
    for top in last_active(learner.network.layers):
        spectra = torch.stack([singular_values(each[top.name][0]) for each in features])
        yield Media(**where, name=f"spectrum/{top.name}", kind="spectrum", values=spectra.cpu().numpy())
