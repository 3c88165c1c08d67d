"""Plasticity injection."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from plasticity_rl.checks import check
from plasticity_rl.interventions.base import Refresh, RefreshContext, State
from plasticity_rl.interventions.recycling import overwrite
from plasticity_rl.networks.layers import GATE, Layers, Params
from plasticity_rl.optim.optimizers import Net


@dataclass(frozen=True)
class PlasticityInjection(Refresh):
    """Freeze the head, and learn a new one that is added to it (Nikishin et al. 2023, arXiv 2305.15555).

    After the injection, outputs are h(x) + h1(x) - h2(x) of the encoder's features x, which continue to learn: h is frozen, h1 is new and
    learns, h2 is a frozen copy of the initial h1, so the injection itself changes no output. The head here is the last hidden layers with
    the linear heads above them, all streams; on the Nature torso these are all dense layers. As a diagnostic: if it helps, plasticity was
    lost. h1 and h2 exist from the start, fixed and without effect, and make these layers three times as large and as slow: with the Nature
    torso and six actions 2.9 times the parameters and 1.34 times the multiplications of a forward pass (counted).

    The first refresh injects, later ones do nothing: one injection per run. It also resets the optimizer state of h, h1 and h2. Frozen
    parameters stay so whatever else is in the chain, where this method is best last: a Reset after the injection affects the encoder and
    h1, and recycled units of the encoder are still read by h and h2. In noisy layers all three use the same noise.

    The formula is from a survey's words, and which parts are frozen from a figure's caption. The paper's time of injection on Atari (50 of
    200 million frames, as remembered) and its treatment of optimizer state are not confirmed; the default is the first task boundary.
    """

    clock: Literal["update", "task"] = "task"

    repeatable: ClassVar[bool] = False
    default_every: ClassVar[dict[str, int]] = {"task": 1}

    def __post_init__(self) -> None:
        check(self)
        self.set_default_every()

    def build(self) -> dict[str, Any]:
        return {"injection": True}

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        learned, new = _parts(layers)
        return {"injected": params[GATE].new_zeros(())} | {name: params[name].clone() for name in (*learned, *new)}

    def refresh(self, net: Net, state: State, context: RefreshContext, layers: Layers) -> tuple[Net, State]:
        learned, new = _parts(layers)
        first = state["injected"] == 0
        values = net.params | _at_birth(state, new) | {GATE: torch.ones_like(net.params[GATE])}
        masks = {name: first.expand_as(net.params[name]) for name in (*learned, *new, *new.values(), GATE)}
        frozen = {name: torch.where(first, net.params[name], state[name]) for name in learned}
        return overwrite(net, masks, values), state | frozen | {"injected": torch.ones_like(state["injected"])}

    def project(self, params: Params, state: State, layers: Layers) -> tuple[Params, State]:
        learned, new = _parts(layers)
        injected = state["injected"] > 0
        held = _at_birth(state, new) | {GATE: state["injected"].to(params[GATE]).expand_as(params[GATE])}
        held |= {name: torch.where(injected, state[name], params[name]) for name in learned}
        held |= {name: torch.where(injected, params[name], state[name]) for name in new}
        return params | held, state


def _parts(layers: Layers) -> tuple[list[str], dict[str, str]]:
    """Parameters that learn until the injection, and those that learn afterwards, each with its frozen copy."""
    injected = [layer for layer in layers if layer.beside is not None]
    beside = {layer.beside for layer in injected}
    learned = [name for layer in layers if layer.name in beside for name in layer.own]
    return learned, {name: copy for layer in injected for name, copy in layer.subtracted.items()}


def _at_birth(state: State, new: dict[str, str]) -> Params:
    return {each: state[name] for name, copy in new.items() for each in (name, copy)}
