"""The update of ONE network: loss, penalties, gradient, optimizer, after_step, project. Pure functions, to be lifted over members."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import grad, grad_and_value

from plasticity_rl.interventions import scope
from plasticity_rl.interventions.base import State, UpdateContext
from plasticity_rl.interventions.chain import Chain, metric_names, overrides
from plasticity_rl.metrics import effects, norms
from plasticity_rl.networks.layers import KEY, Params, network_of
from plasticity_rl.networks.network import Network
from plasticity_rl.noise import normals
from plasticity_rl.optim.optimizers import Net, Optimizer
from plasticity_rl.training.cells import Hyper, vary

Batch = dict[str, Tensor]
HELD = "held/"
"""prefix of a flag () in a batch: the network of that name, of several, keeps its parameters and optimizer state in this update"""
Loss = Callable[..., tuple[Tensor, dict[str, Tensor]]]
"""(params, batch, *extras) -> scalar, and scalars to report, for ONE network"""


class UpdateRule(NamedTuple):
    """The components of an update."""

    network: Network
    loss: Loss
    optimizer: Optimizer
    chain: Chain
    scopes: tuple[scope.Scope, ...]
    """for each method of the chain, the networks that it acts on"""

    def varied(self, hyper: Hyper) -> "UpdateRule":
        """The rule of one member, with its own hyperparameters."""
        chain = tuple(vary(each, numbers) for each, numbers in zip(self.chain, hyper.chain, strict=True))
        return self._replace(optimizer=vary(self.optimizer, hyper.optimizer), chain=chain)


def update(
    rule: UpdateRule,
    net: Net,
    states: list[State],
    low_precision: Params,
    hyper: Hyper,
    noise: dict[str, Tensor],
    batch: Batch,
    *extras: Any,
    measure: bool = False,
) -> tuple[Net, list[State], dict[str, Tensor]]:
    """Update one network; returns the network, the chain's states, and the loss with its reported scalars.

    `low_precision` are rounded parameters that the loss reads instead of the exact ones. `noise` maps the optimizer and methods of the
    chain to keys of normal numbers, (2,), and KEY to that of random activations. `measure` adds metrics, whose names hold a slash, and may
    skip the steps that change none.
    """
    network, loss, optimizer, chain, scopes = rule.varied(hyper)
    layers, names = network.layers, metric_names(chain)
    task = batch.get("task")
    numbers = {who: normals(key, network.shapes) for who, key in noise.items() if who != KEY}
    context = UpdateContext(lambda params, raw=False, only=None: network.limited(params, batch["inputs"], task, raw, only), {})

    began, learned = net, network.learned(net.params)
    at = optimizer.gradient_at(Net(learned, net.slots))
    there = net.params | at
    given = there | (low_precision if at is learned else network.low_precision(there))
    drawn = {KEY: noise[KEY]} if KEY in noise else {}
    of_loss = grad_and_value(lambda own: loss(given | drawn | own, batch, *extras), has_aux=True)
    grads, (value, reported) = of_loss(network.learned(given))
    grads = {name: each.to(learned[name].dtype) for name, each in grads.items()}
    penalised = [index for index, each in enumerate(chain) if overrides(each, "penalty")]
    if penalised:
        # Subtracted, not added: adding a matrix product is fused into one product, whose other summand is first materialised and copied.
        less = grad(lambda own: -sum(scope.penalty(chain[i], scopes[i], there | own, states[i], context) for i in penalised))(at)
        grads = {name: each - less[name] for name, each in grads.items()}
    if measure:
        penalties = {names[i]: scope.penalty(chain[i], scopes[i], there, states[i], context) for i in penalised}
        reported |= {f"penalty_over_loss/{name}": effects.penalty_over_loss(penalty, value) for name, penalty in penalties.items()}
        reported |= by_layer(norms.GRADIENT, grads, layers)
        if not any(overrides(each, hook) for each in chain for hook in ("after_step", "project")):
            return net, states, reported  # the remaining steps take longer than the measurement
    updated = optimizer.update(Net(learned, net.slots), grads, hyper.rate, layers, numbers.get("optimizer"))
    net, states = Net(net.params | updated.params, updated.slots), list(states)
    for index, each in enumerate(chain):
        own_context = context._replace(noise=numbers.get(str(index), {}))
        before, (net, states[index]) = net, scope.after_step(each, scopes[index], net, states[index], grads, own_context)
        if measure and overrides(each, "after_step"):
            reported[f"step_change/{names[index]}"] = effects.change(before.params, net.params)
    net, states, projected = project(rule, net, states, hyper, measure)
    for flag in (name for name in batch if name.startswith(HELD)):
        net = _held(flag.removeprefix(HELD), batch[flag], began, net)
    return net, states, {"loss": value} | reported | projected


def project(
    rule: UpdateRule, net: Net, states: list[State], hyper: Hyper, measure: bool = False
) -> tuple[Net, list[State], dict[str, Tensor]]:
    """Apply the chain's projections in order; returns the network and the states. `measure` adds the size of each projection."""
    chain, states, found = rule.varied(hyper).chain, list(states), {}
    for index, (each, name) in enumerate(zip(chain, metric_names(chain), strict=True)):
        params, states[index] = scope.project(each, rule.scopes[index], net.params, states[index])
        if measure and overrides(each, "project"):
            found[f"projection_factor/{name}"] = effects.factor(net.params, params)
            found[f"projection_change/{name}"] = effects.change(net.params, params)
        net = net._replace(params=params)
    return net, states, found


def _held(network: str, held: Tensor, before: Net, after: Net) -> Net:
    """The network after an update; parameters and optimizer state of one of its separate networks as before it, where `held`."""

    def kept(before: Params, after: Params) -> Params:
        return {name: torch.where(held, before[name], each) if network_of(name) == network else each for name, each in after.items()}

    return Net(kept(before.params, after.params), {slot: kept(before.slots[slot], state) for slot, state in after.slots.items()})


def by_layer(measures: dict[str, Callable[..., Params]], *given: Any) -> dict[str, Tensor]:
    """Each measure of each layer, keyed `measure/layer`."""
    return {f"{name}/{layer}": value for name, measure in measures.items() for layer, value in measure(*given).items()}
