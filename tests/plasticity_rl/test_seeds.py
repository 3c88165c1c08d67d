"""Names of random streams: one table, which the code and only the code fills."""

import ast
import hashlib
from pathlib import Path

from plasticity_rl.seeds import PURPOSES, derive

ROOT = Path(__file__).parents[2]
DRAWING = {"derive", "draw", "draw_actions", "Draw", "_draw", "fresh", "random", "uniform", "normal", "_seeds", "pool_seeds"}
"""functions whose text arguments name a random stream"""


def words(call: ast.Call) -> list[str]:
    """Constant prefixes of a call's text arguments; the kind of numbers, as `Draw` has it, is none."""
    texts = [part.values[0] if isinstance(part, ast.JoinedStr) else part for part in call.args]
    return [
        part.value.strip()
        for part in texts
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value not in ("uniform", "normal")
    ]


def used() -> set[str]:
    """Words that the sources give to random streams."""
    found = set[str]()
    for package in ("plasticity_rl", "envs", "agents", "launch/checkpoints"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                    found |= set(words(node)) if name in DRAWING else set()
    return found


def test_every_random_stream_stands_in_the_table_and_no_other():
    assert used() == set(PURPOSES)


def test_a_stream_is_the_first_63_bits_of_its_names_hash():
    digest = hashlib.sha256(b"3/1/network/birth").digest()
    assert derive(3, 1, "network", "birth") == int.from_bytes(digest[:8], "little") // 2
