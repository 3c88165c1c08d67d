"""Limits of methods: hooks see all of an agent's networks, or those that `only` names, and leave the others unchanged.

Pure functions of ONE network, to be called in place of a method's own hooks. Without a limit, they pass everything on as it is.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from plasticity_rl.checks import UsageError, name_of, named_together, nearest
from plasticity_rl.interventions.base import Intervention, Refresh, RefreshContext, State, UpdateContext
from plasticity_rl.networks.layers import GATE, Layers, Params, network_of
from plasticity_rl.networks.network import Network
from plasticity_rl.optim.optimizers import Net

T = TypeVar("T")


class Scope(NamedTuple):
    """The networks that a method acts on."""

    layers: Layers
    parts: tuple[str, ...] | None = None
    """names of the networks; None for all"""
    gates: tuple[str, ...] = ()
    """names of these networks' own parameters that switch injected copies on; the method sees the first, as GATE"""

    beside: tuple[str, ...] = ()
    """names of parameters of no network, such as a temperature, which a method for networks leaves to the optimizer"""

    @property
    def everything(self) -> bool:
        """True if the method acts on all parameters."""
        return self.parts is None and not self.beside

    def holds(self, name: str) -> bool:
        """True if a layer or parameter is of these networks."""
        return name not in self.beside and (self.parts is None or network_of(name) in self.parts)

    def inside(self, tensors: dict[str, T]) -> dict[str, T]:
        """Tensors of these networks, by layer or parameter."""
        if self.everything:
            return tensors
        own = {name: tensor for name, tensor in tensors.items() if self.holds(name) and name not in self.gates}
        gates = [tensors[name] for name in self.gates if name in tensors]
        if gates:
            own[GATE] = gates[0]
        return own

    def merged(self, tensors: Params, own: Params) -> Params:
        """All tensors, with those of these networks as a hook returned them."""
        if self.everything:
            return own
        return tensors | {name: own[GATE if name in self.gates else name] for name in tensors if self.holds(name)}

    def around(self, params: Params, context: UpdateContext) -> UpdateContext:
        """Context of a hook within the update of a network with these parameters."""
        if self.everything:
            return context
        apply = lambda own, raw=False: context.apply(self.merged(params, own), raw, self.parts)  # noqa: E731 - annotations do not compile
        return UpdateContext(apply, self.inside(context.noise))


def chosen(only: str, parts: Sequence[str]) -> tuple[str, ...]:
    """Networks that a limit names: one, or those whose names differ in digits at their end."""
    return (only,) if only in parts else tuple(part for part in parts if named_together(part) == only)


def scope_of(method: Intervention, network: Network) -> Scope:
    """The networks that a method acts on. Raises UsageError if it is limited to one that does not exist, or to a parameter of no layer that
    it cannot change."""
    if not method.only:
        networks = {network_of(layer.name) for layer in network.layers}
        beside = tuple(name for name, *_ in network.heads.constants if network.heads.separate and network_of(name) not in networks)
        return Scope(network.layers, beside=() if method.takes_single_parameters else beside)
    who, parts = name_of(method), network.parts
    if not parts:
        raise UsageError(f"{who} is limited to one of several networks, and here all heads are of one network: leave out {method.only!r}")
    found = chosen(method.only, parts)
    if not found:
        known = sorted({*parts, *(named_together(part) for part in parts)})
        hint = nearest(method.only, known)
        there = "" if hint.startswith("one of") else f" (there are {', '.join(parts)})"
        raise UsageError(f"{who}: there is no network {method.only!r}{there}; {hint}")
    scope = Scope(tuple(layer for layer in network.layers if network_of(layer.name) in found), found)
    if not scope.layers and not method.takes_single_parameters:
        raise UsageError(f"{who} acts on layers, and {method.only} is a parameter of none")
    return scope._replace(gates=tuple(f"{part}.{GATE}" for part in found if f"{part}.{GATE}" in network.shapes))


def init(method: Intervention, scope: Scope, params: Params, generator: torch.Generator) -> State:
    """The method's initial state."""
    return method.init(scope.inside(params), scope.layers, generator)


def penalty(method: Intervention, scope: Scope, params: Params, state: State, context: UpdateContext) -> Tensor:
    """The method's penalty."""
    return method.penalty(scope.inside(params), state, scope.layers, scope.around(params, context))


def after_step(method: Intervention, scope: Scope, net: Net, state: State, grads: Params, context: UpdateContext) -> tuple[Net, State]:
    """Network and state after the method's `after_step`."""
    own, state = method.after_step(_net(scope, net), state, scope.inside(grads), scope.layers, scope.around(net.params, context))
    return _merged(scope, net, own), state


def project(method: Intervention, scope: Scope, params: Params, state: State) -> tuple[Params, State]:
    """Parameters and state after the method's projection."""
    own, state = method.project(scope.inside(params), state, scope.layers)
    return scope.merged(params, own), state


def refresh(method: Refresh, scope: Scope, net: Net, state: State, context: RefreshContext) -> tuple[Net, State]:
    """Network and state after the method's refresh."""
    around = scope.around(net.params, UpdateContext(context.apply, {}))
    seen = RefreshContext(scope.inside(context.fresh), scope.inside(context.features), around.apply)
    own, state = method.refresh(_net(scope, net), state, seen, scope.layers)
    return _merged(scope, net, own), state


def _net(scope: Scope, net: Net) -> Net:
    return net if scope.everything else Net(scope.inside(net.params), {slot: scope.inside(each) for slot, each in net.slots.items()})


def _merged(scope: Scope, net: Net, own: Net) -> Net:
    if scope.everything:
        return own
    return Net(scope.merged(net.params, own.params), {slot: scope.merged(each, own.slots[slot]) for slot, each in net.slots.items()})
