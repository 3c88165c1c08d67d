"""Encoding of the process: UTF-8 for names and files."""

import locale
import os
import sys


def speak_utf8() -> None:
    """Restart this process if Python does not read names and files as UTF-8. Letters that a terminal cannot show become \\u...."""
    if sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1":
        return
    os.environ["PYTHONUTF8"] = "1"
    os.environ.setdefault("PYTHONIOENCODING", f"{locale.getencoding()}:backslashreplace")
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
