"""Plugins: parts in modules that the user allowed. Imports no torch by itself.

A description of an experiment never decides what is imported. Modules are allowed by `allow`, which is the command line's --plugin, and by
an installed package's entry points of the group `plasticity_rl.interventions`, each the name of a module (`my_methods`) or of a class
(`my_methods:Decay`). Allowing a module allows its submodules.
"""

import dataclasses
import importlib
import inspect
import shlex
import sys
import warnings
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from types import ModuleType

from plasticity_rl.checks import UsageError, choose

MARK = "plugin:"
"""prefix of a plugin's part in JSON"""
GROUP = "plasticity_rl.interventions"
BASES = {"method": ("plasticity_rl.interventions", "Intervention")}
"""kind of part -> (module, name) of its base class"""

_allowed: list[str] = []


def allow(modules: Iterable[str]) -> None:
    """Import modules, and let experiments name their methods from now on. Raises UsageError if one cannot be imported."""
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
    home, name = BASES[kind]
    base = getattr(importlib.import_module(home), name)
    if _root(module) is None:
        raise UsageError(f"module {module!r} is not allowed to be imported; {shlex.join(['--plugin', module])} allows it")
    held = {name: each for name, each in vars(_load(module)).items() if isinstance(each, type) and not name.startswith("_")}
    taken = (name for name, each in held.items() if issubclass(each, base) and _root(each.__module__) is not None)
    return sorted(f"{module}.{name}" for name in taken if not inspect.isabstract(held[name]))


def find(kind: str, path: str) -> type:
    """Class of a part `module.Class`. Raises UsageError if it does not exist, or its module is not allowed."""
    module, _, name = path.rpartition(".")
    choose(kind, path, parts(kind, module))
    made = getattr(_load(module), name)
    if "__dataclass_params__" not in vars(made) or not made.__dataclass_params__.frozen:
        raise UsageError(f"{path} must be a frozen dataclass: put @dataclass(frozen=True) before the class")
    if vars(sys.modules[made.__module__]).get(made.__name__) is not made:
        raise UsageError(f"{path} must be importable as {made.__module__}.{made.__name__}, its own name")
    if needed := [each.name for each in dataclasses.fields(made) if each.default is each.default_factory is dataclasses.MISSING]:
        raise UsageError(f"{path}: {', '.join(needed)} must have a default")
    try:
        made()
    except UsageError as error:
        raise UsageError(f"{path} does not accept its own defaults: {error}") from error
    return made


def sources(path: str) -> dict[str, Path]:
    """Files of the plugin that holds the part `module.Class`: name within the plugin -> path."""
    root = _root(path.rpartition(".")[0])
    assert root is not None, path
    module = _load(root)
    folders = [Path(folder) for folder in getattr(module, "__path__", ())]
    below = {f"{root}/{file.relative_to(folder).as_posix()}": file for folder in folders for file in sorted(folder.rglob("*.py"))}
    return below or ({root: Path(module.__file__)} if module.__file__ else {})


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
