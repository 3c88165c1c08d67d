"""Check of a Ray cluster before use, and the token that protects it."""

import os
import secrets
import socket
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from rich.console import Console
from rich.table import Table

from launch.ray_cluster import token_path
from plasticity_rl.checks import UsageError

PACKAGES = ("ray", "torch", "envpool")
NODES = "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo"
PATIENCE = 60.0  # seconds for a node to answer, including the start of a worker


def make_token() -> int:
    """Make the token if it is missing, readable by its owner only; a file made by Ray would be readable by everybody."""
    path = token_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if not path.is_file() or not path.read_text().strip():
            raise UsageError(f"{path} holds no token; remove it") from None
        path.chmod(0o600)
        print(f"the token in {path} is kept")
        return 0
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(32))
    print(f"a new token is in {path}")
    return 0


def examine(address: str, open: bool) -> int:
    """Print the cluster at `address`. Returns exit code 0, or 1 if a node does not answer or its versions differ from this machine's.
    Raises UsageError if nothing answers and, unless `open`, if anybody could run code on the cluster."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = _find(address)
    closed = is_closed(address)
    exposed = not closed and answers_others(address)
    if exposed and not open:
        raise UsageError(
            f"{address} requires no token, so anyone who reaches it can run code: start it with RAY_AUTH_MODE=token, or use --open"
        )
    nodes = _look(address, closed)
    here = teller()()
    console = Console(highlight=False)
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for heading in ("node", "CPUs", "GPUs", "memory", "Python", *PACKAGES):
        table.add_column(heading, no_wrap=True)
    for node in nodes:
        has = node["resources"]
        table.add_row(
            node["address"],
            f"{has.get('CPU', 0):g}",
            f"{has.get('GPU', 0):g}",
            f"{has.get('memory', 0) / 1e9:.0f} GB",
            *(_beside(node["versions"].get(name), version) for name, version in here.items()),
        )
    table.add_row("here", "", "", "", *(version or "none" for version in here.values()))
    console.print(f"{address}: {'a token is asked for' if closed else 'open' if exposed else 'no token, on this machine alone'}")
    console.print(table)
    different = [node["address"] for node in nodes if node["versions"] != here]
    if different:
        console.print(f"not as here, or silent: {', '.join(sorted(set(different)))}", soft_wrap=True)
    return 1 if different else 0


def is_closed(address: str) -> bool:
    """True if the cluster rejects clients without a token. Raises UsageError if nothing answers, or if it rejects this process's token."""
    if not _turns_away(address, None):
        return False
    path = token_path()
    token = os.environ.get("RAY_AUTH_TOKEN") or (path.read_text().strip() if path.is_file() else None)
    if token is None:
        raise UsageError(f"{address} requires a token, and {path} does not exist; copy it from the cluster's head")
    if _turns_away(address, token):
        raise UsageError(f"{address} rejects the token in {'RAY_AUTH_TOKEN' if os.environ.get('RAY_AUTH_TOKEN') else path}")
    return True


def _turns_away(address: str, token: str | None) -> bool:
    shown = (("authorization", f"Bearer {token}"),) if token else ()
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(NODES)(b"", timeout=10.0, metadata=shown)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:  # type: ignore[attr-defined] - the error is also a call
                return True
            raise UsageError(f"no Ray cluster answers at {address}") from error
    return False


def answers_others(address: str) -> bool:
    """True if other machines can reach it, firewalls aside. Ray listens on all interfaces, whatever a node's address."""
    host, _, port = address.rpartition(":")
    if not socket.gethostbyname(host).startswith("127."):
        return True
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as towards:
        try:
            towards.connect(("192.0.2.1", 9))  # sends nothing; finds this machine's outward address
            socket.create_connection((towards.getsockname()[0], int(port)), timeout=5.0).close()
        except OSError:
            return False
    return True


def teller() -> Callable[[], dict[str, str | None]]:
    """Return a function that lists versions of Python and packages; None if missing. Pickled by value, so that nodes need no checkout."""
    packages = PACKAGES

    def tell() -> dict[str, str | None]:
        import platform
        from importlib import metadata

        found: dict[str, str | None] = {"Python": platform.python_version()}
        for name in packages:
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                found[name] = None
        return found

    return tell


def _find(address: str) -> str:
    """Return host:port of a cluster; resolves `auto`."""
    from ray._private.services import canonicalize_bootstrap_address_or_die

    try:
        return canonicalize_bootstrap_address_or_die(address)
    except (ConnectionError, ValueError, OSError) as error:
        raise UsageError(f"no Ray cluster is found at {address}: {error}") from error


def _look(address: str, closed: bool) -> list[Mapping[str, Any]]:
    """List each node's address, resources and versions; without versions if it does not answer."""
    os.environ["RAY_AUTH_MODE"] = "token" if closed else "disabled"  # never send the token to an open cluster
    import ray
    from ray._raylet import Config  # type: ignore[attr-defined] - compiled
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    Config.initialize("")  # Ray reads the mode at import
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (RayError, ConnectionError, ValueError, RuntimeError) as error:
        raise UsageError(f"{address} rejected the connection: {str(error).strip().splitlines()[0]}") from error
    try:
        alive = [node for node in ray.nodes() if node["Alive"]]
        asked: Any = ray.remote(teller())
        options = dict(num_cpus=0, max_retries=0)
        answers = [
            asked.options(**options, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote()
            for node in alive
        ]
        ready, _ = ray.wait(answers, num_returns=len(answers), timeout=PATIENCE)
        found: list[Mapping[str, Any]] = []
        for node, answer in zip(alive, answers, strict=True):
            try:
                said = ray.get(answer) if answer in ready else {}
            except RayError:
                said = {}
            found.append({"address": node["NodeManagerAddress"], "resources": node["Resources"], "versions": said})
        return sorted(found, key=lambda node: node["address"])
    finally:
        ray.shutdown()


def _beside(there: str | None, here: str | None) -> str:
    return there or "none" if there == here else f"[yellow]{there or 'none'}[/]"
