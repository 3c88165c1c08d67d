"""The compiler's cache: effects of a killed process, a full disk or a damaged file on it, and on the next run."""

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from plasticity_rl import processor
from plasticity_rl.training import compilation
from plasticity_rl.training.compilation import cache_folder, can_compile, compiled
from tests.conftest import Begin

needs_compiler = pytest.mark.skipif(not shutil.which(os.environ.get("CXX", "g++")), reason="no C++ compiler")
torchs_own = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def double_sine(x: Tensor) -> Tensor:
    return 2 * x.sin()


X = torch.tensor([0.0, 0.5, 1.0])
EXPECTED = torch.tensor([2 * math.sin(x) for x in (0.0, 0.5, 1.0)])


@needs_compiler
@torchs_own
def test_inputs_that_are_one_tensor_at_first_may_differ_later() -> None:
    one, two = torch.ones(3), torch.full((3,), 2.0)
    weighted = compiled(lambda first, second: first + 10 * second)
    assert [weighted(*given)[0].item() for given in ((one, one), (one, two), (two, one), (two, two))] == [11, 21, 12, 22]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Use an empty cache, then restore the former."""
    compilation._use_own_cache()
    monkeypatch.setenv(compilation.FOLDER, str(tmp_path / "cache"))
    forget()
    yield tmp_path / "cache"
    forget()


def forget() -> None:
    """Clear the cache's memory, as in a new process."""
    from torch._inductor.utils import clear_caches

    torch.compiler.reset()
    clear_caches()
    compilation._remove_damaged.cache_clear()


def libraries(folder: Path) -> dict[Path, int]:
    """File sizes."""
    return {path: path.stat().st_size for path in folder.rglob("*.so")}


def replace(path: Path, content: bytes) -> None:
    """Write a new file: this process uses the old one."""
    path.unlink()
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "all but the last byte": lambda content: content[:-1],
    "zeros": lambda content: bytes(len(content)),
}


@needs_compiler
@torchs_own
@pytest.mark.parametrize("damage", list(DAMAGES))
def test_files_that_were_cut_short_are_removed_and_compiled_anew(folder: Path, damage: str) -> None:
    torch.testing.assert_close(compiled(double_sine)(X), EXPECTED)
    sizes = libraries(folder)
    graphs = [path for path in folder.rglob("*") if path.is_file() and {"fxgraph", "aotautograd"} & set(path.parts)]
    assert sizes and graphs
    for path in (*sizes, *graphs):
        replace(path, DAMAGES[damage](path.read_bytes()))
    (folder / "scores.csv").touch()  # another user's, in a folder that the cache was set to
    forget()
    with pytest.warns(UserWarning, match=f"^{len(sizes) + len(graphs)} damaged files were removed from the compiler's cache"):
        made = compiled(double_sine)
    torch.testing.assert_close(made(X), EXPECTED)
    kernels = {path: size for path, size in sizes.items() if path.name.endswith(".main.so")}
    assert kernels and kernels.items() <= libraries(folder).items()
    assert (folder / "scores.csv").exists()


def test_a_library_that_cannot_be_loaded_is_removed_and_compiled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor.exc import InductorError

    monkeypatch.setenv(compilation.FOLDER, str(tmp_path))
    library, other = tmp_path / "ab" / "cab.main.so", tmp_path / "ab" / "cac.main.so"
    library.parent.mkdir()
    for path in (library, other):
        path.write_bytes(b"no library")

    def graph(x: Tensor) -> Tensor:
        if library.exists():
            raise InductorError(OSError(f"{library}: invalid ELF header"), None)
        return 2 * x.sin()

    with pytest.warns(UserWarning, match=f"^{library} in the compiler's cache could not be loaded: it was removed") as warned:
        torch.testing.assert_close(compilation._forgiving(graph, double_sine)(X), EXPECTED)
    assert len(warned) == 1 and other.exists()


@needs_compiler
@torchs_own
def test_where_compilation_fails_it_runs_as_written_and_says_so_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import cpp_builder
    from torch._inductor.exc import CppCompileError

    def fail(*_: object) -> None:
        raise CppCompileError(["g++"], "ld: final link failed: No space left on device\ncollect2: error: ld returned 1")

    monkeypatch.setattr(cpp_builder, "_run_compile_cmd", fail)
    compilation._warn.cache_clear()
    functions = [compiled(lambda x: x.sin() * 2), compiled(lambda x: x.cos() * 3)]
    with pytest.warns(UserWarning) as warned:
        found = [function(X) for function in functions for _ in range(2)]
    assert [str(each.message) for each in warned] == [
        "compilation failed (CppCompileError: ld: final link failed: No space left on device): updates run uncompiled, several times slower"
    ]
    torch.testing.assert_close(found, [X.sin() * 2, X.sin() * 2, X.cos() * 3, X.cos() * 3])


def test_an_error_of_what_runs_is_raised_and_nothing_runs_twice() -> None:
    ran = []

    def graph(x: Tensor) -> Tensor:
        ran.append("compiled")
        raise RuntimeError("index 7 is out of bounds")

    with pytest.raises(RuntimeError, match="index 7"):
        compilation._forgiving(graph, lambda x: ran.append("as written"))(X)
    assert ran == ["compiled"]


def test_a_library_is_not_where_it_belongs_before_it_is_whole(tmp_path: Path) -> None:
    from torch._inductor import cpp_builder
    from torch._inductor.exc import CppCompileError

    compilation._repair_inductor()
    target = tmp_path / "a library.so"
    script = "import pathlib, sys; path = pathlib.Path(sys.argv[-1]); path.write_text('half'); sys.exit({} or pathlib.Path({!r}).exists())"
    for code in (1, 0):
        (tmp_path / "write.py").write_text(script.format(code, str(target)))
        command = f"{sys.executable} '{tmp_path}/write.py' -o '{target}'"
        if code:
            with pytest.raises(CppCompileError):
                cpp_builder.run_compile_cmd(command, str(tmp_path))
            assert [path.name for path in tmp_path.iterdir()] == ["write.py"]
    cpp_builder.run_compile_cmd(command, str(tmp_path))
    assert target.read_text() == "half" and len(list(tmp_path.iterdir())) == 2


def test_each_kind_of_processor_has_its_own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    folders = []
    for flags in ("avx2", "avx2 avx512f"):
        monkeypatch.setattr(processor, "cpu_info", lambda flags=flags: {"model name": "A processor", "flags": flags})
        folders.append(cache_folder())
    assert len(set(folders)) == 2 and {folder and folder.parent for folder in folders} == {tmp_path / "caches" / "plasticity-rl"}
    assert folders[0] and f"torch-{torch.__version__}-" in folders[0].name


def test_without_a_home_that_can_be_written_the_cache_is_pytorchs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for unfit in ("file", "with a space"):  # PyTorch's commands quote no names
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / unfit))
        assert cache_folder() is None
    monkeypatch.delenv("XDG_CACHE_HOME")

    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    assert cache_folder() is None


def test_a_folder_that_was_named_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compilation.FOLDER, "/somewhere")
    compilation._use_own_cache.__wrapped__()
    assert os.environ[compilation.FOLDER] == "/somewhere"


def test_without_a_compiler_it_runs_as_written_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    can_compile.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    try:
        with pytest.warns(UserWarning, match="no C.. compiler") as warned:
            assert compiled(double_sine) is double_sine
            assert compiled(double_sine) is double_sine
        assert len(warned) == 1
    finally:
        can_compile.cache_clear()


@needs_compiler
@pytest.mark.process
@pytest.mark.timeout(1800)
def test_killed_at_ten_moments_of_compilation_the_same_command_goes_on(tmp_path: Path, begin: Begin) -> None:
    words = ["run", "--benchmark", "random-labels:tasks=1,updates=20", "--network", "mlp:width=8,depth=2", "--members", "2", "--name", "a"]

    def call(cache: str, runs: str) -> subprocess.Popen[str]:
        environment = os.environ | {compilation.FOLDER: str(tmp_path / cache)}
        command = [sys.executable, "-m", "launch", *words, "--runs", str(tmp_path / runs)]
        return begin(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def scores(runs: str) -> str:
        (file,) = (tmp_path / runs).rglob("scores.csv")
        return file.read_text()

    whole = call("cache", "whole")
    assert whole.communicate()[1] == "" and whole.returncode == 0
    for _ in range(10):
        process, begun = call("cut", "killed"), 0
        before = set((tmp_path / "cut").rglob("*.so*"))
        while process.poll() is None and begun < 2:  # while the second new library is being written
            begun = len({path for path in (tmp_path / "cut").rglob("*.so*")} - before)
            time.sleep(0.001)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    last = call("cut", "killed")
    assert last.communicate()[1] == "" and last.returncode == 0
    assert scores("killed") == scores("whole")
