"""What a run shows of its networks at every checkpoint: for people's eyes alone, and in no table."""

from collections.abc import Iterator
from typing import Any

import torch

from plasticity_rl.metrics.ranks import singular_values
from plasticity_rl.networks.layers import Params, penultimate
from plasticity_rl.records.events import Media
from plasticity_rl.training.learner import Learner

VALUES = 4096  # of a histogram; ours
EXAMPLES = 8


@torch.no_grad()
def pictures(learner: Learner, untrained: Params, where: dict[str, Any]) -> Iterator[Media]:
    """Of the batch last learned from: all members' units before the activation, of every layer; and of the first member a few observations,
    and the singular values of the features that the heads read, its own and those of an `untrained` network of its kind.

    Nothing before the first update, nor where units are no numbers: the run's next row says that.
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
    for top in penultimate(learner.network.layers):
        spectra = torch.stack([singular_values(each[top.name][0]) for each in features])
        yield Media(**where, name=f"spectrum/{top.name}", kind="spectrum", values=spectra.cpu().numpy())
