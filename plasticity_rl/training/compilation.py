"""torch.compile, its repair, and its cache: a folder that survives killed processes, full disks and files that were cut short."""

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
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from plasticity_rl import processor

FOLDER = "TORCHINDUCTOR_CACHE_DIR"  # the variable that says where PyTorch's compiler keeps what it has compiled


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` compiled as one graph of fixed shapes; `function` itself, with one warning, where this machine has no C++ compiler.

    It is compiled at the first call, before any of it has run. A library in the compiler's cache that cannot be loaded is then removed and
    made again, with a warning. Where that does not help, or the disk is full, a warning says so, and `function` runs as it is.
    """
    if not can_compile():
        return function
    _use_own_cache()
    _repair_inductor()
    _remove_damaged()

    def alone(*given: Any) -> Any:
        return function(*given)

    # Graphs are kept with a function's code, at most eight: each function gets code of its own. What it reads besides tensors is frozen.
    alone.__code__ = alone.__code__.replace()
    options: Any = {"guard_filter_fn": torch.compiler.keep_tensor_guards_unsafe}
    return _forgiving(torch.compile(alone, fullgraph=True, dynamic=False, options=options), function)


def _forgiving(graph: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """`graph`; or `function`, from the first time on that it cannot be compiled. What goes wrong while it runs is raised."""
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
                    _warn(f"{library} in the compiler's cache could not be loaded: it was removed, and is compiled anew")
                else:
                    chosen = function
                    _warn(f"compilation failed ({_reason(error.inner_exception)}): updates run uncompiled, several times slower")

    return called


def _unloadable(error: BaseException) -> Path | None:
    """The library of the cache that could not be loaded, if that is what went wrong."""
    if not isinstance(error, ImportError | OSError):
        return None
    said = f"{getattr(error, 'path', '')} {error}"
    return next((path for path in Path(os.environ[FOLDER]).rglob("*.so") if str(path) in said), None)


def _reason(error: BaseException) -> str:
    """One line: what the C++ compiler printed first, or the error itself."""
    text = str(error).rpartition("Output:")[2].strip()
    return f"{type(error).__name__}: {text.partition(chr(10))[0]}"


@cache
def _warn(text: str) -> None:
    """Once for each text: several functions fail for one reason."""
    warnings.warn(text, stacklevel=4)


@cache
def can_compile() -> bool:
    """Are a C++ compiler and Python's headers, which torch.compile needs, on this machine? Warns where they are not."""
    compiler = any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++", "c++"))
    found = compiler and (Path(sysconfig.get_paths()["include"]) / "Python.h").exists()
    if not found:
        warnings.warn("no C++ compiler with Python's headers was found: updates run uncompiled, several times slower", stacklevel=2)
    return found


def cache_folder() -> Path | None:
    """The project's own cache of compiled code on this machine, below XDG_CACHE_HOME or ~/.cache; None where it cannot be written, or has a
    space in its name, which PyTorch does not quote for the C++ compiler.

    Code is compiled for one processor, and a home may be shared by machines: each kind of processor has a folder of its own.
    """
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        made_for = (platform.machine(), processor.name(), *sorted(processor.features()))
        digest = hashlib.sha256(" ".join(made_for).encode()).hexdigest()[:8]
        folder = home / "plasticity-rl" / f"torch-{torch.__version__}-python-{platform.python_version()}-{digest}"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # there is no home
        return None
    return folder if os.access(folder, os.W_OK) and shlex.split(str(folder)) == [str(folder)] else None


@cache
def _use_own_cache() -> None:
    """Where nobody has said otherwise; without a home, PyTorch takes one in the folder of temporary files."""
    if FOLDER not in os.environ and (folder := cache_folder()):
        os.environ[FOLDER] = str(folder)


@cache
def _remove_damaged() -> None:
    """Remove files that were cut short, as a process leaves them that is killed while it writes, or a machine that loses its power.

    Such a library ends the process that loads it; where PyTorch tries with it what the processor can, slower code would be made.
    """
    from torch._inductor.codecache import LOCK_TIMEOUT, get_lock_dir
    from torch.utils._filelock import FileLock

    try:
        locks, removed = Path(get_lock_dir()), 0  # sets the variable, too
    except OSError:  # it cannot be written, and compilation will say so
        return
    folder = Path(os.environ[FOLDER])
    for path in folder.rglob("[!.]*"):  # a file that is being written begins with a dot
        if path.suffix != ".lock" and path.is_file() and not _whole(path):
            with FileLock(str(locks / f"{path.name.partition('.')[0]}.lock"), timeout=LOCK_TIMEOUT):  # whoever writes it holds this
                if path.exists() and not _whole(path):
                    path.unlink(missing_ok=True)
                    removed += 1
    if removed:
        _warn(f"{removed} damaged files were removed from the compiler's cache, {folder}; they are compiled anew")


def _whole(path: Path) -> bool:
    """Does a file hold something, a library as much as its header says, and a pickled graph its end? A library's end is a table."""
    try:
        with path.open("rb") as file:
            head, size = file.read(64), file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            last = file.read()
    except OSError:
        return True  # somebody else has removed it
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
    """Two functions of PyTorch's compiler are replaced.

    Inductor asks every user of a buffer where it reads it, and dies where one only overwrites it (pytorch issue 196570), as happens to
    parameters that are projected and written. It must then not keep the buffer local, which is what None makes it conclude.

    It has the C++ compiler write a library where it is looked for, and takes what a killed process leaves there for whole. The library is
    now written beside its place and moved there.
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
