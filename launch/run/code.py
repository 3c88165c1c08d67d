"""Hash of the code that a run's numbers depend on: the modules that its parts import, without docstrings, comments and layout."""

import ast
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from threading import Lock

from launch.ray_cluster import CHECKOUT, LIBRARY
from plasticity_rl import plugins, registry
from plasticity_rl.experiment import KINDS, LISTS
from plasticity_rl.records.spec import Spec

PACKAGES = ("plasticity_rl", "envs", "agents")
PARSING = Lock()  # ast.parse fails in concurrent threads, such as a sweep's on Ray (CPython issue 106905, Python < 3.12)


def code_hash(spec: Spec) -> str:
    """Hash of 16 hexadecimal digits. It changes with any code in a module that the run imports, not with docstrings or other agents."""
    return _digest("".join(f"{name}\0{digest}\0" for name, digest in sorted(module_hashes(spec).items())), 16)


def module_hashes(spec: Spec) -> dict[str, str]:
    """Hash of 8 hexadecimal digits for each module that the run imports: runs with other parts share some of them."""
    names, sources = [], {}
    for field, kind in KINDS.items():
        described = spec.experiment.get(field, [])
        for name, fields in described if field in LISTS else [described]:
            own = [value for value in fields.values() if isinstance(value, str) and plugins.is_own(value)]  # such as a dataset's function
            if name.startswith(plugins.MARK):
                own.append(name.removeprefix(plugins.MARK))
            else:
                names.append(registry.words(kind)[name].rpartition(".")[0])
            for path in own:
                sources |= {each: file.read_bytes() for each, file in plugins.sources(path).items()}
    names += [each for source in sources.values() for each in imported(source, CHECKOUT)]
    sources |= {name: path.read_bytes() for name, path in closure(names, CHECKOUT).items()}
    return {name: _digest(stripped(source), 8) for name, source in sorted(sources.items())}


def _digest(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def closure(names: Iterable[str], root: Path) -> Mapping[str, Path]:
    """Return name -> file of the named modules below `root` and of all modules of PACKAGES that they import, also inside functions."""
    found: dict[str, Path] = {}
    left = list(names)
    while left:
        name = left.pop()
        if name not in found:
            found[name] = path = _file(name, root)
            left += imported(path.read_bytes(), root)
    return found


@cache
def imported(source: bytes, root: Path) -> frozenset[str]:
    """Return the modules of PACKAGES that a source imports. A name re-exported by a package's `__init__.py` counts as its defining module,
    because the package imports all methods and a run uses few."""
    found: set[str] = set()
    for node in ast.walk(_parsed(source)):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names if each.name.partition(".")[0] in PACKAGES}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in PACKAGES:
            found |= {_home(node.module, each.name, root) for each in node.names}
    return frozenset(found)


@cache
def stripped(source: bytes) -> str:
    """Return a source without docstrings, comments and layout."""
    tree = _parsed(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [each for each in node.body if not _is_text(each)] or [ast.Pass()]
    return ast.unparse(tree)


def _parsed(source: bytes) -> ast.Module:
    with PARSING:
        return ast.parse(source)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _home(module: str, name: str, root: Path) -> str:
    """Return the module that defines the name in `from module import name`."""
    path = _file(module, root)
    if path.name != "__init__.py":
        return module
    if _exists(f"{module}.{name}", root):
        return f"{module}.{name}"
    for node in _parsed(path.read_bytes()).body:
        if isinstance(node, ast.ImportFrom) and node.module and any((each.asname or each.name) == name for each in node.names):
            return _home(node.module, name, root)
    return module


def _exists(module: str, root: Path) -> bool:
    path = _path(module, root)
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def _file(module: str, root: Path) -> Path:
    path = _path(module, root)
    return path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"


def _path(module: str, root: Path) -> Path:
    """Return a module's path without suffix. Wheels hold the library outside of the folder of the other packages."""
    top, *rest = module.split(".")
    return (root if (root / top).is_dir() else LIBRARY).joinpath(top, *rest)
