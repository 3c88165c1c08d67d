"""Conditions under which a chain can be attached to a module and an optimizer; each function raises UsageError."""

from collections.abc import Iterable, Mapping

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from plasticity_rl.attach.optimizer_state import SLOTS
from plasticity_rl.checks import UsageError, check_repeats, choose, name_of
from plasticity_rl.interventions.base import Intervention, Refresh
from plasticity_rl.interventions.chain import Chain, overrides
from plasticity_rl.networks.layers import Layers


def check_chain(chain: Chain) -> None:
    """No method is limited to one network, stands twice, only builds, or sets fields of the optimizer: the caller made both."""
    for each in chain:
        if not isinstance(each, Intervention):
            raise UsageError(f"a chain is a tuple of interventions, and {each!r} is not one")
        if each.only:
            raise UsageError(f"{name_of(each)} is limited to one of an agent's networks: attach it, without that, to this module alone")
    check_repeats(chain)
    for each in chain:
        who, fields = type(each).__name__, each.build()
        if each.optimizer():
            raise UsageError(f"{who} sets {', '.join(each.optimizer())} of the optimizer: pass it to your torch.optim optimizer instead")
        if fields and not (isinstance(each, Refresh) or any(overrides(each, hook) for hook in ("penalty", "after_step", "project"))):
            raise UsageError(f"{who} only builds ({', '.join(fields)}), but the module is built already: build it with this method")


def check_shapes(params: Mapping[str, nn.Parameter]) -> None:
    """All parameters have shapes."""
    for name, param in params.items():
        if is_lazy(param):
            raise UsageError(f"{name} has no shape yet: send a batch through the module first")


def check_untied(params: Mapping[str, nn.Parameter], used: Iterable[str], who: str) -> None:
    """No parameter in `used` stands under two names, as its rows would belong to two layers. `who`: what needs that."""
    names: dict[int, list[str]] = {}
    for name, param in params.items():
        names.setdefault(id(param), []).append(name)
    for name in used:
        if len(both := names[id(params[name])]) > 1:
            raise UsageError(
                f"{who} needs each weight to be one layer's, and {' and '.join(both)} are one parameter: untie them, or take methods that "
                "need parameters alone, such as l2-init, shrink-and-perturb and reset"
            )


def check_callable(module: nn.Module, who: str) -> None:
    """The module has a forward pass to trace."""
    if type(module).forward is nn.Module.forward:
        raise UsageError(
            f"{who} needs a forward pass, and {type(module).__name__} has none: give it a forward() that returns all outputs, such as "
            "(self.actor(x), self.critic(x)), and set plan.batch = ((x,), {}) before after_step where the loop does not call it"
        )


def check_statistics(chain: Chain, module: nn.Module, statistics: Mapping[str, tuple[str, ...]]) -> None:
    """A refresh can renew the running statistics of single units."""
    refreshes = [type(each).__name__ for each in chain if isinstance(each, Refresh) and each.needs_fresh]
    for names in statistics.values() if refreshes else ():
        path = names[0].rpartition(".")[0]
        if getattr(module.get_submodule(path), "momentum", 0.1) is None:
            raise UsageError(f"{refreshes[0]} renews running statistics by unit, and {path} averages all batches: give it momentum=0.1")


def check_built(chain: Chain, layers: Layers, norms: Mapping[str, str] | None) -> None:
    """The module has what the chain would build. `norms`: layer -> kind of its norm, if known."""
    for each in chain:
        who, fields = type(each).__name__, each.build()
        for name, value in fields.items():
            for layer in (layer for layer in layers if layer.activation is not None):
                if name == "norm" and (norms is None or layer.scale is None):
                    continue  # the method's own `require` names what is missing
                found = {"norm": (norms or {}).get(layer.name), "activation": layer.activation}.get(name)
                if found != value:
                    there = f"{layer.name} has {found}" if name in ("norm", "activation") else "the module is built"
                    raise UsageError(f"{who} builds {name}={value}, but {there}; build the module with it")


def check_units(units: Mapping[str, str], layers: Layers, module: nn.Module) -> None:
    """Layers and submodules in `units` exist."""
    modules = dict(module.named_modules())
    for name, path in units.items():
        choose("layer in units", name, [layer.name for layer in layers])
        choose("submodule in units", path, modules)


def check_trained(chain: Chain, params: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    """The optimizer trains the parameters, a refresh overwrites no frozen one, and the optimizer's state is known if needed."""
    trained = {id(param) for group in optimizer.param_groups for param in group["params"]}
    for name, param in params.items():
        if id(param) not in trained:
            raise UsageError(f"the optimizer does not hold {name}: create it from the attached module's parameters")
    if any(isinstance(each, Refresh) for each in chain):
        for name, param in params.items():
            if not param.requires_grad:
                raise UsageError(f"{name} is frozen, and a refresh would overwrite it: give layers=(...) without its layer")
    if (who := reaches_optimizer(chain)) and type(optimizer) not in SLOTS:
        name, known = type(optimizer).__name__, [kind.__name__ for kind in SLOTS]
        raise UsageError(
            f"{who} needs an optimizer whose state is known: torch.optim's {', '.join(known)} themselves, not "
            f"{'a subclass of ' if name in known else ''}{name}"
        )


def reaches_optimizer(chain: Chain) -> str:
    """Class name of the first method that may change the optimizer's state; empty if none does."""
    return next((type(each).__name__ for each in chain if isinstance(each, Refresh) or overrides(each, "after_step")), "")
