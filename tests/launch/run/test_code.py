"""The hash of a run's code: its modules, and the changes that count."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from launch.config.parse import experiment
from launch.ray_cluster import CHECKOUT
from launch.run import code
from launch.run.code import closure, code_hash, module_hashes, stripped
from launch.run.runner import describe

FILES = {
    "agents/__init__.py": "",
    "agents/learner.py": """
from plasticity_rl.methods import Shrink
RATE = 0.1  # chosen
def train():
    from envs.streams import labels
    return labels
""",
    "agents/other.py": "RATE = 1",
    "envs/__init__.py": "",
    "envs/streams.py": "import numpy\nimport envs.images",
    "envs/images.py": "SIZE = 8",
    "plasticity_rl/__init__.py": "",
    "plasticity_rl/methods/__init__.py": "from plasticity_rl.methods.shrink import Shrink\nfrom plasticity_rl.methods.reset import Reset",
    "plasticity_rl/methods/shrink.py": "from plasticity_rl import seeds\nclass Shrink:\n    pass",
    "plasticity_rl/methods/reset.py": "class Reset:\n    pass",
    "plasticity_rl/seeds.py": "PRIME = 7",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_what_a_module_imports_counts_inside_functions_too_and_no_more(tree: Path) -> None:
    found = closure(["agents.learner"], tree)
    modules = ["agents.learner", "envs.images", "envs.streams", "plasticity_rl.methods.shrink", "plasticity_rl.seeds"]
    assert sorted(found) == modules  # not reset, imported by the package and not the learner; not agents.other
    assert found["plasticity_rl.seeds"] == tree / "plasticity_rl" / "seeds.py"


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ('"""Another title."""\nRATE = 0.1\ndef f(x):\n    """Another text."""\n    return x', True),
        ("RATE = 0.1  # why\n\n\ndef f( x ):\n    return (x)", True),
        ("RATE = 0.2\ndef f(x):\n    return x", False),
        ("RATE = 0.1\ndef f(x):\n    return -x", False),
        ("RATE = 0.1\ndef f(x):\n    'a text that is returned is none'\n    return 'x'", False),
    ],
)
def test_docstrings_comments_and_layout_do_not_count(changed: str, same: bool) -> None:
    plain = b'"""A title."""\nRATE = 0.1\n\ndef f(x):\n    """A text."""\n    return x'
    assert (stripped(changed.encode()) == stripped(plain)) is same


def changed_by(path: str, old: str, new: str, words: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> bool:
    """True if the hash of an experiment changes with a file of the project."""
    spec, read = describe(experiment(words)), Path.read_bytes
    before = code_hash(spec)
    assert old in (CHECKOUT / path).read_text()
    monkeypatch.setattr(
        Path, "read_bytes", lambda at: read(at).replace(old.encode(), new.encode(), 1) if at == CHECKOUT / path else read(at)
    )
    return code_hash(spec) != before


@pytest.mark.parametrize(
    ("path", "old", "new", "words", "changes"),
    [
        ("agents/impala.py", '"""', '"""Once more: ', {}, False),
        ("agents/impala.py", "@dataclass", "PRIME = 7\n@dataclass", {}, False),
        ("agents/impala.py", "@dataclass", "PRIME = 7\n@dataclass", {"benchmark": "cartpole", "agent": "impala"}, True),
        ("agents/impala.py", '"""', '"""Once more: ', {"benchmark": "cartpole", "agent": "impala"}, False),
        ("plasticity_rl/seeds.py", "import", "PRIME = 7\nimport", {}, True),
        ("agents/supervised.py", "@dataclass", "PRIME = 7\n@dataclass", {}, True),
    ],
)
def test_a_run_is_made_of_what_its_parts_import(
    path: str, old: str, new: str, words: dict[str, str], changes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    code.imported.cache_clear()
    assert changed_by(path, old, new, words, monkeypatch) is changes


def test_threads_may_ask_at_once() -> None:
    code.imported.cache_clear()
    stripped.cache_clear()
    spec = describe(experiment({}))
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: code_hash(spec), range(8)))) == 1


def test_runs_of_two_chains_have_the_same_code_where_both_use_it() -> None:
    none, reset = (module_hashes(describe(experiment({"chain": chain}))) for chain in ([], ["reset"]))
    assert none.items() <= reset.items()
    assert {"plasticity_rl.interventions.reset"} <= reset.keys() - none.keys() and "plasticity_rl.training.learner" in none
