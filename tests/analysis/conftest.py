"""Fixtures shared by the tests of analysis."""

import pytest


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without figures, which take most time."""
    for name in ("draw", "draw_suite"):
        monkeypatch.setattr(f"analysis.report.page.{name}", lambda *_: [])
