"""requirements.lock: the versions of constraints.txt with their hashes."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s\\;]+)", re.MULTILINE)


def named(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


def pinned(file: str) -> dict[str, str]:
    return {named(name): version for name, version in PINNED.findall((ROOT / file).read_text())}


def test_the_lock_has_the_versions_of_the_constraints() -> None:
    lock, constraints = pinned("requirements.lock"), pinned("constraints.txt")
    assert {name: version for name, version in lock.items() if name in constraints and constraints[name] != version} == {}
    # torch's own on a GPU, which the constraints of processors do not have
    assert all(name.startswith(("nvidia-", "cuda-")) or name in ("triton", "setuptools") for name in lock.keys() - constraints.keys())


def test_the_lock_has_every_dependency_of_the_testbed_and_a_hash_for_each() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["testbed"]]
    lock = (ROOT / "requirements.lock").read_text()
    assert {named(re.split(r"[\[<>=,;]", each)[0]) for each in wanted} <= pinned("requirements.lock").keys()
    blocks = re.split(r"\n(?=\S)", lock.strip())
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", block) for block in blocks) and "://" not in lock
