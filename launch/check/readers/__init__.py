"""Readers of checkpoints, one file a kind: `read(path, module)` returns the file's networks by name."""

from pathlib import Path

from launch.check.readers import run_folder, safetensors_file, stable_baselines3, torch_file
from launch.check.subject import Subject
from plasticity_rl.checks import UsageError, choose
from plasticity_rl.records.folder import SPEC

READERS = {
    ".zip": stable_baselines3.read,
    ".pt": torch_file.read,
    ".pth": torch_file.read,
    ".bin": torch_file.read,
    ".ckpt": torch_file.read,
    ".cleanrl_model": torch_file.read,
    ".safetensors": safetensors_file.read,
}


def found(path: Path) -> list[Path]:
    """The checkpoints at a path: itself, or those in a folder that is no run's, in the order of the numbers in their names."""
    if not path.exists():
        raise UsageError(f"no such file or folder: {path}")
    if path.is_file() or (path / SPEC).is_file():
        return [path]
    inside = [each for each in path.iterdir() if each.is_file() and each.suffix in READERS]
    if not inside:
        raise UsageError(f"{path} holds no checkpoint ({', '.join(READERS)}), and is not a run's folder (runs/NAME/KEY)")
    return sorted(inside, key=order)


def order(path: Path) -> tuple[list[int], str]:
    """Sorts `model_900_steps.zip` before `model_1000_steps.zip`."""
    digits = "".join(each if each.isdigit() else " " for each in path.stem)
    return [int(number) for number in digits.split()], path.name


def read(path: Path, module: str | None, name: str | None) -> list[Subject]:
    """The networks of a checkpoint, or the one of this name. `module` names a function that makes the network: MODULE.FUNCTION.

    Raises UsageError for a file that cannot be read or understood.
    """
    if path.is_file():
        choose("kind of checkpoint", path.suffix or path.name, READERS)
    subjects = READERS[path.suffix](path, module, name) if path.is_file() else run_folder.read(path, module)
    if name is None:
        return subjects
    choose(f"network of {path}", name, [each.name for each in subjects])
    return [each for each in subjects if each.name == name]
