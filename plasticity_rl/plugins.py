"""Plugins: parts in modules that the user allowed. Imports no torch by itself.

A description of an experiment never decides what is imported. Modules are allowed by `allow`, which is the command line's --plugin, and by
an installed package's entry points of the group `plasticity_rl.plugins`, each the name of a module (`my_methods`) or of something in it
(`my_methods:Decay`). Allowing a module allows its submodules.
"""

import dataclasses
import importlib
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from plasticity_rl.checks import UsageError, choose

MARK = "plugin:"
"""prefix of a plugin's part in JSON"""
GROUP = "plasticity_rl.plugins"
BASES = {
    "method": ("plasticity_rl.interventions.Intervention",),
    "benchmark": ("envs.supervised.base.Tasks", "envs.reinforcement.base.ReinforcementBenchmark"),
    "agent": ("agents.base.Agent",),
    "network": ("plasticity_rl.networks.specs.NetworkSpec", "plasticity_rl.networks.modules.ModuleSpec"),
    "metric": ("plasticity_rl.metrics.base.NetworkMetric",),
}
"""kind of part -> paths of its base classes. A part derives from one, or has all attributes of one that is a Protocol"""
ADAPTERS = {"network": "plasticity_rl.networks.modules.adapted"}
"""kind of part -> path of a function that makes the class of a part from anything else that stands for one, or returns None"""
HINTS = {"network": ", be an nn.Module or function whose parameters begin with (inputs, outputs), or a frozen dataclass with such a build"}
"""kind of part -> what its adapter takes"""

_allowed: list[str] = []


def allow(modules: Iterable[str]) -> None:
    """Import modules, and let experiments name their parts from now on. Raises UsageError if one cannot be imported."""
    for name in modules:
        if not is_path(name):
            raise UsageError(f"a plugin is a module name, such as my_methods or my_package.methods, not {name!r}")
        _load(name)
        if name not in _allowed:
            _allowed.append(name)


def allowed() -> tuple[str, ...]:
    """Modules passed to `allow`, for use in another process."""
    return tuple(_allowed)


def is_path(text: str) -> bool:
    """True if the text can be the name of a module, or of something in it."""
    return all(word.isidentifier() for word in text.split("."))


def known(kind: str) -> list[str]:
    """Paths of all parts of a kind in allowed modules; installed modules that cannot be imported are skipped with a warning."""
    found: list[str] = []
    for module in _roots():
        try:
            found += parts(kind, module)
        except UsageError as error:
            warnings.warn(str(error), stacklevel=2)
    return sorted(set(found))


def parts(kind: str, module: str) -> list[str]:
    """Paths `module.Class` of a module's parts of a kind. Raises UsageError if it is not allowed or cannot be imported."""
    return sorted(f"{module}.{name}" for name, each in _candidates(kind, module).items() if not lacking(kind, each))


def find(kind: str, path: str) -> type:
    """Class of a part `module.Class`. Raises UsageError if it does not exist, is of another kind, or its module is not allowed."""
    module, _, name = path.rpartition(".")
    found = _candidates(kind, module)
    if name in found and (reason := lacking(kind, found[name])):
        raise UsageError(f"{path} is not a valid {kind}: {reason}")
    choose(kind, path, parts(kind, module))
    made, held = found[name], vars(_load(module))[name]
    if "__dataclass_params__" not in vars(made) or not made.__dataclass_params__.frozen:
        raise UsageError(f"{path} must be a frozen dataclass: put @dataclass(frozen=True) before the class")
    if vars(sys.modules[made.__module__]).get(made.__name__) is not held:
        raise UsageError(f"{path} must be importable as {made.__module__}.{made.__name__}, its own name")
    if needed := [each.name for each in dataclasses.fields(made) if each.default is each.default_factory is dataclasses.MISSING]:
        raise UsageError(f"{path}: {', '.join(needed)} must have a default")
    try:
        made()
    except UsageError as error:
        raise UsageError(f"{path} does not accept its own defaults: {error}") from error
    return made


def function(path: str) -> Callable[..., Any]:
    """Function `module.name` of an allowed module. Raises UsageError if it does not exist, or its module is not allowed."""
    module, _, name = path.rpartition(".")
    held = {each: value for each, value in vars(_allowed_module(module)).items() if callable(value) and not each.startswith("_")}
    choose("function", path, [f"{module}.{each}" for each in held])
    return held[name]


def is_own(path: str) -> bool:
    """True if a text is the path of something in an allowed module."""
    module, dot, _ = path.rpartition(".")
    return bool(dot) and is_path(path) and _root(module) is not None


def lacking(kind: str, made: Any) -> str:
    """Reason for which a class, or anything else, is no part of a kind; empty if it is one. Names what is missing of the nearest base."""
    reasons: dict[str, int] = {}
    for path in BASES[kind]:
        home, _, name = path.rpartition(".")
        base = getattr(importlib.import_module(home), name)
        if isinstance(made, type) and (base in made.__mro__ or _is_protocol(base)):
            missing = _missing(made, base)
            if not missing:
                return ""
            reasons[f"it lacks {', '.join(missing)} of {path}"] = len(missing)
    derives = f"it must derive from {' or '.join(BASES[kind])}{HINTS.get(kind, '')}"
    return min(reasons, key=lambda reason: reasons[reason]) if reasons else derives


def sources(path: str) -> dict[str, Path]:
    """Files of the plugin that holds the part or function `module.name`: name within the plugin -> path."""
    root = _root(path.rpartition(".")[0])
    assert root is not None, path
    module = _load(root)
    folders = [Path(folder) for folder in getattr(module, "__path__", ())]
    below = {f"{root}/{file.relative_to(folder).as_posix()}": file for folder in folders for file in sorted(folder.rglob("*.py"))}
    return below or ({root: Path(module.__file__)} if module.__file__ else {})


def _candidates(kind: str, module: str) -> dict[str, Any]:
    """Public classes and functions of an allowed module that are a plugin's own, adapted to the kind."""
    held = {name: each for name, each in vars(_allowed_module(module)).items() if not name.startswith("_")}
    own = {name: each for name, each in held.items() if isinstance(each, type | FunctionType) and _root(each.__module__) is not None}
    if kind not in ADAPTERS:
        return {name: each for name, each in own.items() if isinstance(each, type)}
    home, _, name = ADAPTERS[kind].rpartition(".")
    adapted = getattr(importlib.import_module(home), name)
    return {name: (lacking(kind, each) and adapted(each)) or each for name, each in own.items()}


def _allowed_module(module: str) -> ModuleType:
    if _root(module) is None:
        raise UsageError(f"module {module!r} is not allowed to be imported; {shlex.join(['--plugin', module])} allows it")
    return _load(module)


def _is_protocol(base: type) -> bool:
    return getattr(base, "_is_protocol", False)


def _missing(made: type, base: type) -> list[str]:
    """Attributes that a class lacks: those of the base, and of its own bases, that are abstract, or named in a Protocol."""
    protocols = {each for each in (*base.__mro__, *made.__mro__) if _is_protocol(each)}
    stated = {name for each in protocols for name in (*vars(each), *vars(each).get("__annotations__", {})) if not name.startswith("_")}
    fields = {field.name for field in dataclasses.fields(made)} if dataclasses.is_dataclass(made) else set[str]()
    absent = {name for name in stated - fields if not hasattr(made, name)}
    return sorted(absent | getattr(made, "__abstractmethods__", frozenset()))


def _roots() -> list[str]:
    installed = sorted(each.value.partition(":")[0].strip() for each in metadata.entry_points(group=GROUP))
    return list(dict.fromkeys([*_allowed, *installed]))


def _root(module: str) -> str | None:
    """Allowed module that this one is or belongs to; None if there is none."""
    return next((root for root in _roots() if module == root or module.startswith(f"{root}.")), None)


def _load(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a user's file may fail in any way
        absent = isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}.")
        where = "; modules are looked for in this folder, in PYTHONPATH and among installed packages" if absent else ""
        raise UsageError(f"plugin {name} cannot be imported: {type(error).__name__}: {error}{where}") from error
