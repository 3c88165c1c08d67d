"""Files of safetensors, with a function that makes the module."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from launch.check.readers.weights import with_module
from launch.check.subject import Subject
from plasticity_rl.checks import UsageError


def read(path: Path, module: str | None, name: str | None) -> list[Subject]:
    """The network that `module` makes, with the file's weights; or its part of this name."""
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path} is not a file of safetensors: {error}") from error
    return with_module(path, tensors, module, name)
