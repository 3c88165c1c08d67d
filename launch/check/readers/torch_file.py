"""State dictionaries of torch.save (.pt, .pth), also CleanRL's, with a function that makes the module."""

from pathlib import Path

from launch.check.readers.weights import load_tensors, with_module
from launch.check.subject import Subject


def read(path: Path, module: str | None, name: str | None) -> list[Subject]:
    """The network that `module` makes, with the file's weights; or its part of this name. Nothing but tensors is unpickled."""
    return with_module(path, load_tensors(path, path), module, name)
