"""Joining a Ray cluster, or starting one on this machine that nobody else can use."""

import os
import secrets
import sys
from pathlib import Path
from typing import Any

from plasticity_rl.checks import UsageError

CHECKOUT = Path(__file__).resolve().parents[1]
LEFT_OUT = [".git", ".venv", "runs", "docs", "**/__pycache__", ".pytest_cache", ".ruff_cache"]  # of what a cluster's nodes get


def prepare_ray(address: str | None) -> None:
    """To be called before Ray is imported, which reads this then: it listens on all interfaces even for a cluster of one."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def connect(address: str | None) -> None:
    """Join the cluster at `address`, or start one on this machine that nobody else can use; nothing, where this process has done so
    before. Raises UsageError where there is none."""
    prepare_ray(address)
    try:
        import ray
    except ImportError as error:
        raise UsageError("Ray is not installed here: pip install 'ray>=2.56'") from error
    if ray.is_initialized():
        return
    settings: dict[str, Any] = dict(log_to_driver=False, configure_logging=False)
    if address is None:
        path = os.pathsep.join(filter(None, [str(CHECKOUT), *sys.path]))
        ray.init(include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": path}}, **settings)
        return
    try:
        ray.init(address=address, runtime_env={"working_dir": str(CHECKOUT), "excludes": LEFT_OUT}, **settings)
    except (ConnectionError, ValueError, RuntimeError) as error:
        lines = str(error).strip().splitlines()
        raise UsageError(f"no Ray cluster answers at {address}: {lines[-1] if lines else type(error).__name__}") from error
