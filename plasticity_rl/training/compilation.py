"""torch.compile, a fix for its bugs, and its cache: a folder that survives killed processes, full disks and truncated files."""

import hashlib
import os
import pickle
import platform
import shlex
import shutil
import struct
import sysconfig
import threading
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from plasticity_rl import processor

FOLDER = "TORCHINDUCTOR_CACHE_DIR"  # environment variable: the cache folder of PyTorch's compiler

FAILURES: list[str] = []
"""reason of each function of this process that could not be compiled, and runs as it was written"""


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` as one graph of fixed shapes; returns `function` itself, with one warning, if this machine has no C++ compiler.

    Compilation happens at the first call, before anything runs. A library in the compiler's cache that cannot be loaded is removed and
    rebuilt, with a warning. If that fails, or the disk is full, a warning is given and `function` runs uncompiled.
    """
    if not can_compile():
        return function
    _use_own_cache()
    _repair_inductor()
    _remove_damaged()

    def alone(*given: Any) -> Any:
        return function(*given)

    # At most eight graphs are kept per code object: each function gets its own. Values that it reads besides tensors become constants.
    alone.__code__ = alone.__code__.replace()
    options: Any = {"guard_filter_fn": _kept}
    return _forgiving(torch.compile(alone, fullgraph=True, dynamic=False, options=options), function)


def _kept(guards: Sequence[Any]) -> list[bool]:
    """Which assumptions of a graph are checked at each call: shapes and types of its inputs, and which of them are one tensor."""
    tensors = torch.compiler.keep_tensor_guards_unsafe(guards)
    shared = (guard.guard_type == "DUPLICATE_INPUT" and isinstance(guard.value, Tensor) for guard in guards)
    return [kept or one for kept, one in zip(tensors, shared, strict=True)]


def _forgiving(graph: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """`graph`, or `function` once `graph` cannot be compiled. Errors while it runs are raised."""
    from torch._dynamo.exc import BackendCompilerFailed

    chosen, removed = graph, set[Path]()

    def called(*given: Any) -> Any:
        nonlocal chosen
        while True:
            try:
                return chosen(*given)
            except BackendCompilerFailed as error:  # raised before anything has run
                library = _unloadable(error.inner_exception)
                if library and library not in removed:
                    removed.add(library)
                    library.unlink(missing_ok=True)
                    _warn(f"{library} in the compiler's cache could not be loaded: it was removed, and is compiled again")
                else:
                    chosen = function
                    FAILURES.append(_reason(error.inner_exception))
                    _warn(f"compilation failed ({FAILURES[-1]}): updates run uncompiled, several times slower")

    return called


def _unloadable(error: BaseException) -> Path | None:
    """The library of the cache that could not be loaded, if that is the cause of `error`."""
    if not isinstance(error, ImportError | OSError):
        return None
    said = f"{getattr(error, 'path', '')} {error}"
    return next((path for path in Path(os.environ[FOLDER]).rglob("*.so") if str(path) in said), None)


def _reason(error: BaseException) -> str:
    """The reason in one line: the C++ compiler's first line, or the error itself."""
    text = str(error).rpartition("Output:")[2].strip()
    return f"{type(error).__name__}: {text.partition(chr(10))[0]}"


@cache
def _warn(text: str) -> None:
    """Warn once per text: several functions may fail for the same reason."""
    warnings.warn(text, stacklevel=4)


@cache
def can_compile() -> bool:
    """True if this machine has a C++ compiler and Python's headers, which torch.compile needs. Warns otherwise."""
    compiler = any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++", "c++"))
    found = compiler and (Path(sysconfig.get_paths()["include"]) / "Python.h").exists()
    if not found:
        warnings.warn("no C++ compiler with Python's headers was found: updates run uncompiled, several times slower", stacklevel=2)
    return found


def cache_folder() -> Path | None:
    """The project's cache of compiled code on this machine, below XDG_CACHE_HOME or ~/.cache; None if it is not writable, or has a space in
    its path, which PyTorch does not quote for the C++ compiler.

    Code is compiled for one processor model, and machines may share a home folder: each processor model has its own folder.
    """
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        made_for = (platform.machine(), processor.name(), *sorted(processor.features()))
        digest = hashlib.sha256(" ".join(made_for).encode()).hexdigest()[:8]
        folder = home / "plasticity-rl" / f"torch-{torch.__version__}-python-{platform.python_version()}-{digest}"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home folder
        return None
    return folder if os.access(folder, os.W_OK) and shlex.split(str(folder)) == [str(folder)] else None


@cache
def _use_own_cache() -> None:
    """Use the project's cache if no cache is set; without a home folder, PyTorch uses one among the temporary files."""
    if FOLDER not in os.environ and (folder := cache_folder()):
        os.environ[FOLDER] = str(folder)


@cache
def _remove_damaged() -> None:
    """Remove truncated files, left by a process killed while writing, or by a power failure.

    Loading such a library kills the process; where PyTorch uses one to test the processor's features, slower code would be compiled.
    """
    from torch._inductor.codecache import LOCK_TIMEOUT, get_lock_dir
    from torch.utils._filelock import FileLock

    try:
        locks, removed = Path(get_lock_dir()), 0  # also sets the variable
    except OSError:  # not writable, which compilation will report
        return
    folder = Path(os.environ[FOLDER])
    for path in folder.rglob("[!.]*"):  # names of files being written begin with a dot
        if _is_compilers(path) and path.is_file() and not _whole(path):
            with FileLock(str(locks / f"{path.name.partition('.')[0]}.lock"), timeout=LOCK_TIMEOUT):  # the writing process holds it
                if path.exists() and not _whole(path):
                    path.unlink(missing_ok=True)
                    removed += 1
    if removed:
        _warn(f"{removed} damaged files were removed from the compiler's cache, {folder}; they are compiled again")


def _is_compilers(path: Path) -> bool:
    """True for a file named by PyTorch's compiler: `ab/cab....so`, or below its folders of graphs. The cache may have been set to a folder
    that holds other files."""
    return path.suffix != ".lock" and (path.parent.name == path.name[1:3] or bool({"fxgraph", "aotautograd"} & set(path.parts)))


def _whole(path: Path) -> bool:
    """True if a file is complete: not empty, a library as long as its header says, a pickled graph with its end. A library's end is a
    table."""
    try:
        with path.open("rb") as file:
            head, size = file.read(64), file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            last = file.read()
    except OSError:
        return True  # removed by another process
    if {"fxgraph", "aotautograd"} & set(path.parts):
        return last == pickle.STOP
    if path.suffix != ".so" or platform.system() != "Linux":
        return size > 0
    if len(head) < 64 or head[:4] != b"\x7fELF":
        return False
    (table,), (entry, entries) = struct.unpack_from("=Q", head, 40), struct.unpack_from("=HH", head, 58)
    return table > 0 and table + entry * entries <= size


@cache
def _repair_inductor() -> None:
    """Replace two functions of PyTorch's compiler.

    Inductor asks every user of a buffer where it reads it, and crashes if one only overwrites it (pytorch issue 196570), as happens with
    parameters that are projected and written. The buffer must then not be kept local, which returning None achieves.

    Inductor has the C++ compiler write a library directly to its final path, and takes the partial file of a killed process for complete.
    The library is now written to another path and then moved.
    """
    from torch._inductor import cpp_builder
    from torch._inductor.loop_body import LoopBody

    original_read, original_run = LoopBody.get_read_expr, cpp_builder.run_compile_cmd

    def get_read_expr(self: LoopBody, buffer_name: str) -> Any:
        try:
            return original_read(self, buffer_name)
        except KeyError:
            return None

    def run_compile_cmd(cmd_line: str, cwd: str) -> None:
        words = shlex.split(cmd_line)
        place = words.index("-o") + 1
        target = Path(words[place])
        part = target.with_name(f".{target.name}.{platform.node()}.{os.getpid()}.{threading.get_ident()}.tmp")
        words[place] = str(part)
        try:
            original_run(shlex.join(words), cwd)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    LoopBody.get_read_expr = get_read_expr
    cpp_builder.run_compile_cmd = run_compile_cmd
