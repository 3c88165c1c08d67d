"""Folders of a private cluster."""

import stat
from pathlib import Path

import pytest

from launch.ray_cluster import private_folder
from plasticity_rl.checks import UsageError


def test_nobody_else_enters_a_private_clusters_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    for _ in range(2):
        outer = Path(private_folder()).parent
        assert outer.parent == tmp_path and stat.S_IMODE(outer.stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["open to all", "link", "file"])
def test_a_folder_that_others_may_have_made_is_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    outer = Path(private_folder()).parent
    if kind == "open to all":
        outer.chmod(0o777)
    else:
        outer.rmdir()
        outer.symlink_to(tmp_path) if kind == "link" else outer.write_text("")
    with pytest.raises(UsageError, match="must be a folder that only you can enter"):
        private_folder()
