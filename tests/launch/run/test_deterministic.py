"""Deterministic algorithms, where the command asks for them."""

from pathlib import Path

import pytest
import torch

from launch.__main__ import main
from launch.config.parse import experiment
from launch.run.runner import prepare
from tests.run_folders import run_paths
from tests.training import LABELS

WORDS = ["--benchmark", LABELS["benchmark"], "--agent", LABELS["agent"], "--network", LABELS["network"], "--members", "2", "--eager"]


def test_prepare_sets_and_unsets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    for wanted in (True, False):
        prepare(experiment(LABELS), deterministic=wanted)
        assert torch.are_deterministic_algorithms_enabled() == wanted


def test_on_a_processor_it_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    found = []
    try:
        for name, more in (("plain", []), ("deterministic", ["--deterministic"])):
            assert main(["run", "--runs", str(tmp_path / name), "--name", "x", *WORDS, *more]) == 0
            found.append((run_paths(tmp_path / name)[0] / "scores.csv").read_bytes())
    finally:
        torch.use_deterministic_algorithms(False)
    assert found[0] == found[1]
