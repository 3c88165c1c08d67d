"""Parts from elsewhere: classes of modules that were allowed to be imported. Imports no torch by itself.

What describes an experiment never says what is imported. That is said by `allow`, which is the command line's --plugin, and by an
installed package's entry points of the group `plasticity_rl.interventions`, each the name of a module (`my_methods`) or of a class
(`my_methods:Decay`). A module that is allowed brings those below it.
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
"""what the path of a part in JSON begins with where it is a plugin's"""
GROUP = "plasticity_rl.interventions"
BASES = {"method": ("plasticity_rl.interventions", "Intervention")}
"""The class that parts of a kind derive from: (module, name)."""

_allowed: list[str] = []


def allow(modules: Iterable[str]) -> None:
    """Import modules, and let experiments name the methods in them from now on. Raises UsageError where one cannot be imported."""
    for name in modules:
        if not is_path(name):
            raise UsageError(f"a plugin is a module's name, such as my_methods or my_package.methods, not {name!r}")
        _load(name)
        if name not in _allowed:
            _allowed.append(name)


def allowed() -> tuple[str, ...]:
    """The modules that `allow` was told, for another process."""
    return tuple(_allowed)


def is_path(text: str) -> bool:
    """Could it be the name of a module, or of something in it?"""
    return all(word.isidentifier() for word in text.split("."))


def known(kind: str) -> list[str]:
    """The paths of all parts of a kind in allowed modules; an installed module that cannot be imported is left out with a warning."""
    found: list[str] = []
    for module in _roots():
        try:
            found += parts(kind, module)
        except UsageError as error:
            warnings.warn(str(error), stacklevel=2)
    return sorted(set(found))


def parts(kind: str, module: str) -> list[str]:
    """The paths of a module's parts of a kind, `module.Class`. Raises UsageError if it is not allowed or cannot be imported."""
    home, name = BASES[kind]
    base = getattr(importlib.import_module(home), name)
    if _root(module) is None:
        raise UsageError(f"module {module!r} was not allowed to be imported; {shlex.join(['--plugin', module])} allows it")
    held = {name: each for name, each in vars(_load(module)).items() if isinstance(each, type) and not name.startswith("_")}
    taken = (name for name, each in held.items() if issubclass(each, base) and _root(each.__module__) is not None)
    return sorted(f"{module}.{name}" for name in taken if not inspect.isabstract(held[name]))


def find(kind: str, path: str) -> type:
    """The part `module.Class` of a kind. Raises UsageError if there is none, or its module is not allowed."""
    module, _, name = path.rpartition(".")
    choose(kind, path, parts(kind, module))
    made = getattr(_load(module), name)
    if "__dataclass_params__" not in vars(made) or not made.__dataclass_params__.frozen:
        raise UsageError(f"{path} must be a frozen dataclass: @dataclass(frozen=True) stands before the class")
    if vars(sys.modules[made.__module__]).get(made.__name__) is not made:
        raise UsageError(f"{path} cannot be found again as {made.__module__}.{made.__name__}, the name that it was given")
    if needed := [each.name for each in dataclasses.fields(made) if each.default is each.default_factory is dataclasses.MISSING]:
        raise UsageError(f"{path}: {', '.join(needed)} must have a default")
    try:
        made()
    except UsageError as error:
        raise UsageError(f"{path} cannot be made of its defaults: {error}") from error
    return made


def sources(path: str) -> dict[str, Path]:
    """Files of the plugin that holds the part `module.Class`, by their names in it."""
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
    """The module that was allowed, and by which this one is; None where it is not."""
    return next((root for root in _roots() if module == root or module.startswith(f"{root}.")), None)


def _load(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # whatever a person's file does wrong
        absent = isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}.")
        where = "; modules are looked for in this folder, in PYTHONPATH and among installed packages" if absent else ""
        raise UsageError(f"plugin {name} cannot be imported: {type(error).__name__}: {error}{where}") from error
