"""Connection to a Ray cluster, or to a private one started on this machine."""

import os
import secrets
import socket
import stat
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import plasticity_rl
from launch.signals import kept
from plasticity_rl.checks import UsageError

CHECKOUT = Path(__file__).resolve().parents[1]
"""folder of this package and its neighbours: the checkout, or plasticity_rl/testbed where a wheel is installed"""
LIBRARY = Path(plasticity_rl.__file__).resolve().parents[1]
"""folder of plasticity_rl: the checkout, or site-packages"""
PATIENCE = 10.0  # seconds for a connection
LOST = 4  # exit code
LEFT_OUT = [".git", ".venv", "runs", "docs", "**/__pycache__", ".pytest_cache", ".ruff_cache"]  # not copied to a cluster's nodes


class NoCluster(Exception):
    """Ray did not start, or rejected this process."""


def token_path() -> Path:
    """Return the file in which Ray looks for a cluster's token if RAY_AUTH_TOKEN is not set."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")


def prepare_ray(address: str | None) -> None:
    """Set Ray's environment variables; call before importing Ray. A token is needed because Ray listens on all interfaces."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # otherwise a call after shutdown joins the last cluster, or waits for it
    if address is None:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    elif os.environ.get("RAY_AUTH_TOKEN") or token_path().is_file():  # by default Ray does not use the token when joining
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def reach(address: str | None) -> None:
    """Raise UsageError if nothing listens at HOST:PORT, which Ray itself takes minutes to report."""
    host, colon, port = (address or "").rpartition("://")[2].rpartition(":")
    if not colon:  # `auto` or None
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UsageError(f"no Ray cluster answers at {address}: {error}") from error


def connect(address: str | None) -> None:
    """Join the cluster at `address`, or start a private one on this machine; no-op if already connected. Raises UsageError if there is no
    cluster, and NoCluster if Ray fails."""
    prepare_ray(address)
    try:
        import ray
    except ImportError as error:
        raise UsageError("Ray is not installed here: pip install 'ray>=2.56'") from error
    if ray.is_initialized():
        return
    reach(address)
    settings: dict[str, Any] = dict(log_to_driver=False, configure_logging=False)
    if address is None:
        path = os.pathsep.join(filter(None, [str(CHECKOUT), *sys.path]))
        # without "local", Ray would join the cluster last started on this machine
        settings |= dict(
            address="local", include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": path}}, _temp_dir=private_folder()
        )
    else:
        code: dict[str, Any] = {"working_dir": str(CHECKOUT), "excludes": LEFT_OUT}
        if LIBRARY != CHECKOUT:
            code["py_modules"] = [str(LIBRARY / "plasticity_rl")]
        settings |= dict(address=address, runtime_env=code)
    try:
        with kept():
            ray.init(**settings)
    except Exception as error:  # Ray also raises plain Exceptions
        last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        if address is None:
            raise NoCluster(f"Ray did not start on this machine, which may be too busy: {last}; the same command tries again") from error
        if isinstance(error, ConnectionError | ValueError | RuntimeError):
            raise UsageError(f"no Ray cluster answers at {address}: {last}") from error
        raise NoCluster(f"the Ray cluster at {address} rejected this process: {last}") from error
    threading.Thread(target=_watch_node, args=(ray,), name="node of Ray", daemon=True).start()


def private_folder() -> str:
    """A folder for Ray's sessions that only this user can enter: within it, Ray makes folders that everyone could write."""
    place = Path(os.environ.get("RAY_TMPDIR") or "/tmp") / f"ray-{os.getuid()}"  # short: paths of sockets have at most 107 bytes
    with suppress(FileExistsError):
        place.mkdir(mode=0o700)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise UsageError(f"{place} must be a folder that only you can enter; remove it, or set RAY_TMPDIR")
    return str(place / "ray")


def _watch_node(ray: Any) -> None:
    """End this process with one line when Ray's own process on this node is lost: Ray would end it 15 seconds later, without a line."""
    try:
        here = ray.get_runtime_context().get_node_id()
        name = next(node["RayletSocketName"] for node in ray.nodes() if node["NodeID"] == here)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(name)
            while connection.recv(1024):
                pass
    except (OSError, RuntimeError, StopIteration):
        return  # it cannot be watched from here
    if ray.is_initialized():
        os.write(2, b"\nerror: Ray's process on this machine was lost; the same command resumes from the last checkpoint\n")
        os._exit(LOST)
