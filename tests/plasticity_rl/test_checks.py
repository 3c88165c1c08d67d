"""Validation of frozen dataclasses."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from plasticity_rl.checks import UsageError, check, choose, nearest


@dataclass(frozen=True)
class Part:
    rate: float = 0.5
    count: int = 1
    kind: Literal["red", "green"] = "red"
    flag: bool = False
    names: tuple[str, ...] = ()
    limit: float | None = None

    def __post_init__(self) -> None:
        check(self, rate="(0, 1]", count="[1, inf)", limit="[0, 10)")


@pytest.mark.parametrize(
    "fields", [{}, {"rate": 1}, {"rate": 1.0}, {"count": 10**9}, {"kind": "green"}, {"names": ("a",)}, {"limit": 0.0}, {"limit": None}]
)
def test_what_is_allowed_passes(fields: dict[str, Any]) -> None:
    Part(**fields)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"rate": 0.0}, "Part: rate must lie in (0, 1], not 0.0"),
        ({"rate": 1.5}, "rate must lie in"),
        ({"rate": float("nan")}, "rate must be a finite number, not nan"),
        ({"rate": float("inf")}, "rate must be a finite number"),
        ({"rate": "1"}, "rate must be a finite number, not '1'"),
        ({"rate": True}, "rate must be a finite number"),
        ({"count": 0}, "count must lie in [1, inf), not 0"),
        ({"count": 1.0}, "count must be a whole number, not 1.0"),
        ({"count": True}, "count must be a whole number"),
        ({"kind": "gren"}, "kind cannot be 'gren'; did you mean green?"),
        ({"flag": 1}, "flag must be a bool, not 1"),
        ({"names": "ab"}, "names must be several values"),
        ({"names": (1,)}, "names must be a str, not 1"),
        ({"limit": 10.0}, "limit must lie in [0, 10), not 10.0"),
        ({"limit": "x"}, "limit must be a finite number"),
    ],
)
def test_what_is_not_allowed_is_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as error:
        Part(**fields)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_the_nearest_choice_is_named_whatever_the_case() -> None:
    assert nearest("pong", ["Pong", "Breakout"]) == "did you mean Pong?"
    assert nearest("xyz", ["Pong", "Breakout"]) == "one of: Breakout, Pong"
    assert choose("game", "Pong", ["Pong"]) == "Pong"
    with pytest.raises(UsageError, match="unknown game 'pong'; did you mean Pong"):
        choose("game", "pong", ["Pong"])
