"""A run's folder: the networks of one member of its newest checkpoint, with the observations that the run saw last."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from envs.reinforcement.backends.spaces import Discrete
from launch.check.subject import Subject, as_tensor, expect
from launch.checkpoints.play import find_checkpoint
from launch.checkpoints.probe import observations, read_learner
from plasticity_rl.checks import UsageError
from plasticity_rl.checkup.network import KnownLayers
from plasticity_rl.experiment import Experiment
from plasticity_rl.networks.layers import Layer, Params
from plasticity_rl.networks.network import Network
from plasticity_rl.records import checkpoint
from plasticity_rl.records.folder import RunFolder

OPTIONAL = ("bias", "scale", "offset", "weight_noise", "bias_noise")
MEMBER = 0
"""the member that is checked: `probe` measures all of them, with the run's own optimizer and chain"""


class OfRun(KnownLayers):
    """Some outputs of a run's network, as a module of the parameters that they depend on."""

    def __init__(self, network: Network, params: Params, outputs: slice, used: frozenset[str]) -> None:
        super().__init__()
        self.layers = tuple(_kept(layer, used) for layer in network.layers if layer.weight in used)
        self._network, self._outputs, self._names = network, outputs, tuple(params)
        for name, param in params.items():
            place: nn.Module = self
            *path, last = name.split(".")
            for each in path:
                if each not in dict(place.named_children()):
                    place.add_module(each, nn.Module())
                place = place.get_submodule(each)
            if name in used:
                place.register_parameter(last, nn.Parameter(param.clone()))
            else:
                place.register_buffer(last, param.clone())

    def forward(self, x: Tensor, raw: bool | None = None) -> Any:
        held = dict(self.named_parameters()) | dict(self.named_buffers())
        outputs, units = self._network.apply({name: held[name] for name in self._names}, x, raw=bool(raw))
        return outputs[:, self._outputs] if raw is None else {layer.name: units[layer.name] for layer in self.layers if layer.name in units}


def _kept(layer: Layer, used: frozenset[str]) -> Layer:
    """The layer without the parameters that the outputs do not depend on, such as a noisy layer's deviations."""
    gone = [name for name, value in layer._asdict().items() if name in OPTIONAL and value not in used]
    return layer._replace(**dict.fromkeys(gone))


def read(path: Path, module: str | None) -> list[Subject]:
    """The network of member 0, one for each head: `policy` and `value`, `actor` and critics, or `head`.

    Raises UsageError if it is no run, or has no checkpoint.
    """
    if module is not None:
        raise UsageError("--module is of files of weights alone, not of a run's folder, which says what its network is")
    run = RunFolder(path)
    experiment = Experiment.from_json(run.read_spec().experiment)
    snapshot = checkpoint.read(find_checkpoint(run, None))
    learner = read_learner(experiment, snapshot, "cpu")
    network, params = learner.network, {name: param[MEMBER] for name, param in learner.net.params.items()}
    if network.non_trainable:
        raise UsageError(f"{run}: networks with parameters that are not trained ({min(network.non_trainable)}) are not checked; use probe")
    seen = observations(experiment, snapshot, learner)[MEMBER].numpy()
    chooses = isinstance(getattr(experiment.benchmark, "action_space", None), Discrete)
    subjects, start = [], 0
    for name, width in network.heads.heads:
        outputs = slice(start, start + width)
        start += width
        used = _used(network, params, outputs, torch.from_numpy(seen[:2]))
        subjects.append(
            Subject(
                name,
                OfRun(network, params, outputs, used),
                _maker(network, outputs, used),
                _preparer(network.inputs),
                (width,) if chooses and name == "policy" else (),
                own=seen,
            )
        )
    return subjects


def _maker(network: Network, outputs: slice, used: frozenset[str]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        draw = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        return OfRun(network, network.init(draw), outputs, used)

    return make


def _preparer(shape: tuple[int, ...]) -> Callable[[np.ndarray], Tensor]:
    def prepare(observations: np.ndarray) -> Tensor:
        expect(observations, shape)
        return as_tensor(observations)

    return prepare


def _used(network: Network, params: Params, outputs: slice, inputs: Tensor) -> frozenset[str]:
    """Parameters that these outputs depend on: those whose NaN reaches them."""

    def reaches(name: str) -> bool:
        spoiled = params | {name: torch.full_like(params[name], torch.nan)}
        return bool(network.apply(spoiled, inputs)[0][:, outputs].isnan().any())

    with torch.no_grad():
        return frozenset(name for name in params if reaches(name))
