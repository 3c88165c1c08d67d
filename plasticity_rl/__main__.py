"""The command `plasticity-rl`, also as `python -m plasticity_rl`: the testbed's command line, launch/__main__.py."""

import importlib
import os
import sys

import plasticity_rl.testbed  # noqa: F401  finds the packages below
from plasticity_rl import __version__

NEEDS = "pip install 'plasticity-rl[testbed]'"


def main() -> int:
    """Run one command line; returns the exit code. It is 2, with one line, if the testbed's packages are not installed."""
    if sys.argv[1:] == ["--version"]:
        print(f"plasticity-rl {__version__}")
        return 0
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # for --plugin, as `python -m` has it
    try:
        start = importlib.import_module("launch.__main__").start
    except ModuleNotFoundError as error:
        print(f"error: the command needs the package {error.name}, which is not installed: {NEEDS}", file=sys.stderr)
        return 2
    return start()


if __name__ == "__main__":
    sys.exit(main())
