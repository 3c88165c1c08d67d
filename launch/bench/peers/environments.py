"""Virtual environments for programs that cannot share the project's: made once with pip, from its configured package registry."""

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock

from launch.bench.peers.windows import Failed
from plasticity_rl.checks import UsageError

MARK = "installed.txt"  # written last: the environment's Python and requirements


def python_with(requirements: Sequence[str], folder: Path, say: Callable[[str], None]) -> Path:
    """Return the Python of the virtual environment in `folder`; `say` receives pip's output.

    The environment is made anew unless it is complete and has exactly these requirements. Raises UsageError if the folder is something
    else, and Failed with pip's error.
    """
    python, wanted = folder / "bin" / "python", "\n".join([platform.python_version(), *requirements])
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        if (folder / MARK).is_file() and (folder / MARK).read_text() == wanted:
            return python
        if folder.exists() and not (folder / "pyvenv.cfg").is_file():
            raise UsageError(f"{folder} is not a virtual environment, so nothing is installed there")
        shutil.rmtree(folder, ignore_errors=True)
        say(f"into {folder}")
        _call([sys.executable, "-m", "venv", str(folder)], say)
        _call([str(python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar=off", *requirements], say)
        (folder / MARK).write_text(wanted)
    return python


def _call(command: list[str], say: Callable[[str], None]) -> None:
    complaint = f"{command[2]} gave no reason"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        assert process.stdout
        try:
            for line in process.stdout:
                say(line.strip())
                complaint = line.strip() if "error" in line.lower() else complaint
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise Failed(f"cannot be installed: {complaint}")
