"""Origin of a run: the hash of its code, versions, the machine; and the refusal to resume with other code or other data."""

import json
import os
import platform
import subprocess
from importlib import metadata
from typing import Any

import torch

from analysis.format import count
from launch.ray_cluster import CHECKOUT
from launch.run.code import code_hash, module_hashes
from plasticity_rl.checks import UsageError
from plasticity_rl.records import checkpoint
from plasticity_rl.records.folder import RunFolder
from plasticity_rl.records.spec import Spec
from plasticity_rl.training.compilation import can_compile

PACKAGES = ("torch", "numpy", "envpool", "ale-py", "gymnasium", "rliable", "tensorboard", "ray")


def machine(device: str) -> dict[str, Any]:
    """Describe the learner's machine, for context.json."""
    return {
        "machine": f"{platform.machine()}, {count(os.cpu_count() or 1, 'processor')}, {count(torch.get_num_threads(), 'thread')}",
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
    }


def made_by(spec: Spec, compile: bool) -> dict[str, Any]:
    """Describe the code of a run, for context.json."""
    git = [_git(*words) for words in (("rev-parse", "HEAD"), ("status", "--porcelain"))]
    code = {"code": code_hash(spec), "modules": module_hashes(spec)}
    return code | {"commit": git[0], "dirty": bool(git[1]), "compiled": compile and can_compile()}


def _git(*words: str) -> str | None:
    if not (CHECKOUT / ".git").exists():  # installed from a wheel, perhaps inside someone else's repository
        return None
    try:
        done = subprocess.run(["git", "-C", str(CHECKOUT), *words], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def refuse_other_data(folder: RunFolder, spec: Spec) -> None:
    """Raise UsageError if the data of a run are not what the same words mean now, as after a change to a file."""
    if folder.read_spec().fingerprint != spec.fingerprint:
        raise UsageError(f"{folder} was made with data that these words no longer describe; another --name starts a new run")


def refuse_to_resume(folder: RunFolder, spec: Spec, other_code: bool) -> dict[str, list[str]]:
    """Raise UsageError if a run was started with other data or, unless `other_code` allows it, by other code.

    Returns the entry of context.json that lists the hashes of earlier code.
    """
    if not checkpoint.checkpoints(folder.checkpoints):
        return {}
    if folder.read_spec()._replace(tasks_alike=spec.tasks_alike) != Spec(**json.loads(json.dumps(spec._asdict()))):
        raise UsageError(f"{folder} was started with data that these words no longer describe; another --name starts a new run")
    try:
        before = folder.read_context()
        codes = [*before.get("earlier_code", []), before["code"]]
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{folder.context} cannot be read, so the code that started this run is unknown") from error
    if codes[-1] == code_hash(spec):
        return {"earlier_code": codes[:-1]} if codes[:-1] else {}
    if not other_code:
        raise UsageError(f"{folder} was started by other code; --other-code resumes it anyway, another --name starts a new run")
    return {"earlier_code": codes}
