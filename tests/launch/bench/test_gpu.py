"""The dry form of `bench gpu`: what it checks and measures, on a processor."""

import json
import re
from pathlib import Path

import pytest

from launch.bench import gpu
from launch.bench.gpu import WORLDS, Item, acting, distance, events, last, living, near, resumes, runs, steps, table, work
from plasticity_rl.registry import METHODS


def test_every_agent_and_method_is_checked() -> None:
    names = [name for kind, name, _ in work("cpu", 1.0) if kind == "check"]
    assert {f"{method} runs" for method in METHODS} | {f"{agent} resumes" for agent in gpu.ACTING} <= set(names)
    assert len(names) == len(set(names))


def test_a_run_is_checked_and_two_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    made = acting("ppo")
    assert runs(made, "cpu") == "held" == resumes(made, "cpu")
    one = last(events(made, "cpu"))
    other = one._replace(tensors=one.tensors | {"params/hidden0.weight": 1.01 * one.tensors["params/hidden0.weight"]})
    assert distance(one, other) == pytest.approx(0.01)
    with pytest.raises(AssertionError, match=r"a relative distance of 0\.01, more than 0\.001"):
        near(distance(one, other))
    monkeypatch.setattr(gpu, "events", lambda made, device: [])
    with pytest.raises(AssertionError, match="no scores"):
        runs(made, "cpu")


def test_a_failure_is_written_down_and_the_next_item_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise ValueError("two\nlines")

    items = [("check", "a", broken), ("check", "b", lambda: "held"), ("measure", "c", lambda: "5 steps/s")]
    monkeypatch.setattr(gpu, "work", lambda device, minutes: iter(items))
    assert not gpu.measure("cpu", 1.0, tmp_path)
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert [(item["name"], item["failed"], item["found"]) for item in found["items"]] == [
        ("a", True, "ValueError: two lines"),
        ("b", False, "held"),
        ("c", False, "5 steps/s"),
    ]
    text = (tmp_path / "gpu.md").read_text()
    assert "1 of 2 checks held." in text and "- failed: check a: ValueError: two lines" in text and "| c | 5 steps/s |" in text


def test_what_was_not_reached_is_named() -> None:
    about = {"device": "cpu", "machine": "x"}
    assert "Not reached in the time: d, e." in table(about, [Item("check", "a", "held", False, 1.0)], ["d", "e"])


@pytest.mark.long
@pytest.mark.parametrize("word", WORLDS)
def test_environments_on_the_device_run_and_resume(word: str) -> None:
    assert runs(living(word), "cpu") == "held" == resumes(living(word), "cpu")


def test_a_pool_is_stepped_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envs.reinforcement.worlds.pool.compiled", lambda step: step)
    said = steps("catch:simulator=torch", 6, "cpu", 0.01)
    low, high = re.search(r"steps/s \(([\d,]+) to ([\d,]+)\)", said).groups()  # type: ignore[union-attr]
    assert 0 < int(low.replace(",", "")) <= int(said.split()[0].replace(",", "")) <= int(high.replace(",", ""))
