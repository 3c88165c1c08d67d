"""The process: its command's name, and UTF-8 for names and files."""

import locale
import os
import sys
from pathlib import Path


def program() -> tuple[str, ...]:
    """Words that start this command line: those that the person typed, `plasticity-rl` or `python -m launch`."""
    started = Path(sys.argv[0])
    if started.stem == "plasticity-rl":
        return ("plasticity-rl",)
    return "python", "-m", "plasticity_rl" if started.parent.name == "plasticity_rl" else "launch"


def listed(*words: str) -> str:
    """Sentence for an error about an unknown word: the command that lists the known ones."""
    return f"`{' '.join((*program(), *words))}` lists them"


def speak_utf8() -> None:
    """Restart this process if Python does not read names and files as UTF-8. Letters that a terminal cannot show become \\u...."""
    if sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1":
        return
    os.environ["PYTHONUTF8"] = "1"
    os.environ.setdefault("PYTHONIOENCODING", f"{locale.getencoding()}:backslashreplace")
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
