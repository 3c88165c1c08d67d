"""A chain: what its methods build together, whether they can, and which refreshes are due."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

from plasticity_rl.checks import UsageError, check_repeats, name_of
from plasticity_rl.interventions.base import Intervention, Refresh
from plasticity_rl.interventions.scope import Scope, chosen, scope_of
from plasticity_rl.networks.layers import HeadSpec
from plasticity_rl.networks.modules import ModuleNetwork, ModuleSpec
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import NetworkSpec
from plasticity_rl.optim.by_network import ByNetwork
from plasticity_rl.optim.optimizers import Optimizer

Chain = tuple[Intervention, ...]
Hook = Literal["penalty", "after_step", "project"]


def assemble(
    network: NetworkSpec | ModuleSpec, optimizer: Optimizer, chain: Chain, inputs: tuple[int, ...], heads: int | HeadSpec
) -> tuple[Network, Optimizer]:
    """Build the network and the optimizer with the chain's settings, for one example of shape `inputs`.

    Raises UsageError if two parts set one field differently (names both), if a method stands twice but acts once, if one sets an unknown
    field, if the network lacks what a method needs, or if a method resets optimizer state that belongs to whole tensors.
    """
    check_repeats(chain)
    heads = HeadSpec((("head", heads),)) if isinstance(heads, int) else heads
    parts = tuple(prefix.removesuffix(".") for prefix, _ in heads.networks() if prefix)
    spec, own = _by_part(network, chain, parts, lambda each: each.build())
    built = ModuleNetwork(spec, inputs, heads, own) if isinstance(spec, ModuleSpec) else Network(spec, inputs, heads, own)
    for each, scope in zip(chain, scopes(chain, built), strict=True):
        if optimizer.per_tensor and not uniform_age((each,)):
            raise UsageError(
                f"{name_of(each)} may reset the optimizer state of single weights, and that of {type(optimizer).__name__} belongs to "
                "whole tensors: take adam, or another optimizer"
            )
        built.check_built(name_of(each), each.build(), scope.layers)
        each.require(scope.layers)
    common, apart = _by_part(optimizer, chain, built.parts, lambda each: each.optimizer())
    return built, ByNetwork.of(common, apart) if apart else common


def scopes(chain: Chain, network: Network) -> tuple[Scope, ...]:
    """The networks that each method acts on. Raises UsageError as `scope_of`."""
    return tuple(scope_of(each, network) for each in chain)


def uniform_age(chain: Chain) -> bool:
    """True if all elements of a parameter tensor keep the same optimizer age: no method resets the state of single elements."""
    return all(each.uniform_age for each in chain if isinstance(each, Refresh) or overrides(each, "after_step"))


def overrides(method: Intervention, hook: Hook) -> bool:
    """True if the method has that hook."""
    return getattr(type(method), hook) is not getattr(Intervention, hook)


def occurrence(chain: Chain, index: int) -> int:
    """Number of earlier methods of the same class and limit."""
    return sum(type(other) is type(chain[index]) and other.only == chain[index].only for other in chain[:index])


def purpose_of(chain: Chain, index: int) -> tuple[str, int]:
    """Name of a method's random streams, independent of the methods of other classes, or other limits, beside it."""
    return name_of(chain[index]), occurrence(chain, index)


def metric_names(chain: Chain) -> tuple[str, ...]:
    """Names of the methods in metrics: `ReDo`, `ReDo-2` for the second of its class, `critic.ReDo` for one that is limited."""
    purposes = (purpose_of(chain, index) for index in range(len(chain)))
    return tuple(f"{name}-{before + 1}" if before else name for name, before in purposes)


def due_refreshes(chain: Chain, clock: str, tick: int) -> tuple[tuple[int, Refresh], ...]:
    """Index and method of each refresh that is due at that tick of the clock."""
    refreshes = ((index, each) for index, each in enumerate(chain) if isinstance(each, Refresh))
    return tuple((index, each) for index, each in refreshes if each.clock == clock and each.due(tick))


def _by_part(
    part: Any, chain: Chain, parts: tuple[str, ...], fields: Callable[[Intervention], dict[str, Any]]
) -> tuple[Any, dict[str, Any]]:
    """`part` with the settings of all methods without a limit, and for the networks with others by name: those that hold for them."""

    def made(methods: list[Intervention]) -> Any:
        return _set(part, [(name_of(each), fields(each)) for each in methods])

    common = made([each for each in chain if not each.only])
    own = {name: made([each for each in chain if not each.only or name in chosen(each.only, parts)]) for name in parts}
    return common, {name: each for name, each in own.items() if each != common}


def _set(part: Any, settings: list[tuple[str, dict[str, Any]]]) -> Any:
    """`part` with the settings of each method (name, fields); its own fields off their defaults count as settings too."""
    default = type(part)()
    chosen: dict[str, tuple[str, Any]] = {
        field.name: (f"the {type(part).__name__} itself", getattr(part, field.name))
        for field in dataclasses.fields(part)
        if getattr(part, field.name) != getattr(default, field.name)
    }
    known = {field.name for field in dataclasses.fields(part)}
    for method, fields in settings:
        for name, value in fields.items():
            if name not in known:
                raise UsageError(f"{method} sets {name}, and {type(part).__name__} has no such field")
            other, before = chosen.setdefault(name, (method, value))
            if before != value:
                raise UsageError(f"{other} and {method} cannot be combined: {name} would be both {before!r} and {value!r}")
    return dataclasses.replace(part, **{name: value for name, (_, value) in chosen.items()})
