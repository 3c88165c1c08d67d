"""Checkpoints of a small replay."""

from pathlib import Path

import pytest

from launch.__main__ import main


def test_three_checkpoints_are_told_and_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "checkpoint", "--frames", "1000", "--place", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all(line.startswith("0.0 GB: the run waited ") for line in lines)
    assert not list(tmp_path.iterdir())
