"""Files of weights: tensors by name, read without unpickling anything else, and the person's own module that takes them."""

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any

import torch
from torch import Tensor, nn

from launch.check.subject import Subject, as_tensor
from plasticity_rl.checks import UsageError, choose, nearest

WRAPPED = ("module.", "_orig_mod.")
"""prefixes that DataParallel and torch.compile add"""


def load_tensors(file: Path | IO[bytes], path: Path) -> dict[str, Tensor]:
    """Tensors by name in a file of torch.save; those of a dictionary within, if it is the only one that holds tensors."""
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise UsageError(f"{path} holds more than tensors, and nothing else is unpickled: save the module's state_dict() alone") from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UsageError(f"{path} is not a file of torch.save: {' '.join(str(error).split())[:120]}") from error
    if not isinstance(found, Mapping):
        raise UsageError(f"{path} holds a {type(found).__name__}, not tensors by name: save the module's state_dict()")
    inside = {name: each for name, each in found.items() if isinstance(each, Mapping) and _tensors(each)}
    if not _tensors(found) and len(inside) > 1:
        chosen = [name for name in inside if "state_dict" in str(name) and "optim" not in str(name)] or list(inside)
        if len(chosen) > 1:
            raise UsageError(f"{path} holds several dictionaries of tensors: {', '.join(map(str, inside))}; save the one to check alone")
        inside = {chosen[0]: inside[chosen[0]]}
    tensors = _tensors(found) or next((_tensors(each) for each in inside.values()), {})
    if not tensors:
        raise UsageError(f"{path} holds no tensors by name: save the module's state_dict()")
    return tensors


def _tensors(found: Mapping[Any, Any]) -> dict[str, Tensor]:
    return {str(name): each for name, each in found.items() if isinstance(each, Tensor)}


def with_module(path: Path, tensors: dict[str, Tensor], module: str | None, network: str | None) -> list[Subject]:
    """The network that MODULE.FUNCTION makes with these weights, or its part of this name, such as `actor`."""
    if module is None:
        needs = "--module MODULE.FUNCTION names a function that makes their network, and --inputs or --env what it sees"
        raise UsageError(f"{path.name} holds weights alone: {needs}")
    make = factory(module)
    made = _built(make, module)
    for prefix in WRAPPED:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): each for name, each in tensors.items()}
    _fill(made, tensors, path, module)
    if network is None:
        if type(made).forward is nn.Module.forward:  # as in CleanRL's agents
            raise UsageError(f"{module} makes a module without forward(): --network chooses {_listed(made)}")
        return [Subject("network", made, lambda: _built(make, module), as_tensor)]
    choose("part of the module for --network", network, [name for name, _ in made.named_modules() if name])
    return [Subject(network, made.get_submodule(network), lambda: _built(make, module).get_submodule(network), as_tensor)]


def factory(name: str) -> Callable[[], Any]:
    """The function that MODULE.FUNCTION names; the module may stand in the folder that the command is called from."""
    home, _, own = name.rpartition(".")
    if not home:
        raise UsageError(f"--module must be MODULE.FUNCTION, such as my_nets.make, not {name!r}")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(home)
    except Exception as error:  # a person's module may fail in any way
        raise UsageError(f"--module: cannot import {home}: {type(error).__name__}: {' '.join(str(error).split())}") from error
    if not callable(getattr(module, own, None)):
        raise UsageError(f"--module: no function {own!r} in {home}; {nearest(own, [n for n in vars(module) if not n.startswith('_')])}")
    return getattr(module, own)


def _built(make: Callable[[], Any], name: str) -> nn.Module:
    try:
        made = make()
    except Exception as error:  # a person's function may fail in any way
        raise UsageError(f"--module: {name} fails: {type(error).__name__}: {' '.join(str(error).split())}") from error
    if not isinstance(made, nn.Module):
        raise UsageError(f"--module: {name} must make an nn.Module, not {type(made).__name__}")
    return made


def _fill(made: nn.Module, tensors: dict[str, Tensor], path: Path, module: str) -> None:
    own = made.state_dict()
    for name, each in own.items():
        if name not in tensors:
            raise UsageError(f"{path.name} has no {name}, which {module} makes; {nearest(name, tensors)}")
        if each.shape != tensors[name].shape:
            raise UsageError(f"{name} is {tuple(tensors[name].shape)} in {path.name}, and {tuple(each.shape)} in what {module} makes")
    if extra := [name for name in tensors if name not in own]:
        raise UsageError(f"{path.name} has {extra[0]}, which {module} does not make; {nearest(extra[0], own)}")
    made.load_state_dict(tensors)


def _listed(made: nn.Module) -> str:
    names = [name for name, _ in made.named_children()]
    return f"one of {', '.join(names)}" if names else "nothing, for it has no parts"
