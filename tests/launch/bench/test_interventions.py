"""Costs of methods, on clocks readable by hand; and the measured updates."""

import functools
import re
from io import StringIO
from typing import Any

import pytest
import torch
from rich.console import Console

from launch.__main__ import main
from launch.bench import interventions as bench
from launch.bench import update as update_bench
from launch.bench.interventions import Cost, Update, ratio, table
from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import Intervention, L2Init, ReDo, ShrinkAndPerturb, WeightDecay


class Clock:
    """A clock that runs in updates only."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def update(self, seconds: float, refreshing: float = 0.0) -> Any:
        def go(refresh: bool = False) -> None:
            self.now += seconds + (refreshing if refresh else 0.0)

        return go


def test_a_refresh_counts_with_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(bench, "time", clock)
    monkeypatch.setattr(update_bench, "time", clock)
    without, update = clock.update(2.0), clock.update(3.0, 40.0)
    assert ratio(without, update, 1, 10.0) == 3.0 / 2.0  # due in every update: already in it
    assert ratio(without, update, 10, 10.0) == (3.0 + 40.0 / 10) / 2.0
    assert ratio(without, update, 1000, 10.0) == pytest.approx((3.0 + 0.04) / 2.0)


@pytest.mark.parametrize(
    ("method", "plain", "asked"),
    [
        (ReDo(every=5), 0, 1),
        (ShrinkAndPerturb(clock="update", every=1), 12, 1),
        (ShrinkAndPerturb(clock="task", every=1), 0, 0),
        (L2Init(), 0, 0),
    ],
)
def test_refreshes_come_when_they_are_asked_for(method: Intervention, plain: int, asked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    update = Update("mlp", 2, (method,), compile=False)
    done: list[object] = []
    original = update.learner._refresh
    monkeypatch.setattr(update.learner, "_refresh", lambda *given: (done.append(given), original(*given)))
    for _ in range(12):
        update()
    assert len(done) == plain
    update(refresh=True)
    assert len(done) == plain + asked


@pytest.mark.parametrize(("network", "members"), [("mlp", 1), ("mlp", 5), ("nature", 1)])
def test_an_update_changes_every_weight_and_stays_finite(network: str, members: int) -> None:
    update = Update(network, members, (WeightDecay(),), compile=False)
    before = {name: param.clone() for name, param in update.learner.net.params.items()}
    update()
    for name, param in update.learner.net.params.items():
        assert len(param) == members and param.isfinite().all()
        assert (param != before[name]).any(), name


def test_five_networks_that_are_updated_in_turn_share_what_was_compiled_for_one() -> None:
    one, dense = Update("nature", 1, (L2Init(),), compile=False), Update("mlp", 1, (), compile=False)
    own, shared = (Update("nature", 2, (L2Init(),), compile=False, like=like) for like in (None, one))
    assert shared.learner._step is one.learner._step is not own.learner._step
    assert Update("mlp", 5, (), compile=False, like=dense).learner._step is not dense.learner._step  # five at once are another function
    shared.batch = own.batch
    for update in (own, shared):
        update()
    for name, param in own.learner.net.params.items():
        torch.testing.assert_close(shared.learner.net.params[name], param, rtol=0, atol=0)


def test_the_table_has_medians_by_hand() -> None:
    a, b, refused = Cost((1.0, 1.5, 1.1)), Cost((2.0, 2.5, 3.0)), Cost(failure="refused: it lacks a norm")
    assert str(a) == "1.10 [1.00-1.50]" and str(refused) == "-"
    costs = {
        "redo": {("mlp", 1): a, ("mlp", 5): b},
        "l2-init": {("mlp", 1): b, ("mlp", 5): refused},
        "nap": {("mlp", 1): a, ("mlp", 5): refused},
    }
    console = Console(width=100, record=True, file=StringIO())
    console.print(table(costs))
    lines = [line.split() for line in console.export_text().splitlines()]
    assert ["method", "mlp", "S=1", "mlp", "S=5", "second", "pass"] in lines
    assert ["l2-init", "2.50", "[2.00-3.00]", "-", "no"] in lines
    assert lines[-1] == ["median", "1.10", "2.50"]  # 1.10, 2.50, 1.10, and 2.50 alone


def test_a_method_that_refuses_or_fails_costs_the_others_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Proud(Intervention):
        def require(self, layers: object) -> None:
            raise UsageError("Proud needs better layers")

    class Clumsy(Intervention):
        def penalty(self, *given: object) -> Any:
            raise RuntimeError("two\nlines")

    original = bench.part_class
    classes = {"proud": Proud, "clumsy": Clumsy}
    monkeypatch.setattr(bench, "part_class", lambda kind, word: classes[word] if word in classes else original(kind, word))
    monkeypatch.setattr(bench, "passes_again", lambda made: False)
    monkeypatch.setattr(bench, "Update", functools.partial(Update, compile=False))
    bench.measure(["proud", "redo", "clumsy"], ["mlp"], 0.01, 2)
    said = capsys.readouterr().out
    assert "1/6 mlp, S = 1, proud: refused: Proud needs better layers" in said
    assert "6/6 mlp, S = 5, clumsy: failed: RuntimeError: two lines" in said
    assert re.search(r"3/6 mlp, S = 1, redo: \d+\.\d\d \[", said)
    assert said.count("redo") == 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--only", "rdo"], "unknown method 'rdo'; did you mean redo?"),
        (["--only", "redo", "redo"], "each network and method once"),
        (["--seconds", "0"], "seconds must lie in"),
        (["--rounds", "0"], "rounds must lie in"),
        (["--networks", "mpl"], "mpl"),
    ],
)
def test_mistakes_are_named_before_anything_is_measured(line: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "interventions", *line]) == 2
    captured = capsys.readouterr()
    assert said in captured.err and captured.err.count("\n") == 1 and not captured.out
