import csv
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plasticity_rl.checks import UsageError
from plasticity_rl.optim.schedules import Constant, Cyclic, Linear, Recorded, Rewarm, WarmupCosine
from plasticity_rl.records.events import Metric
from plasticity_rl.records.tables import write_table

rates = st.floats(1e-9, 10.0)


def optax_warmup_cosine(init_value: float, peak_value: float, warmup_steps: int, decay_steps: int, end_value: float, count: int) -> float:
    """optax.warmup_cosine_decay_schedule, as its three parts are documented."""
    if count < warmup_steps:  # linear_schedule(init_value, peak_value, warmup_steps)
        return (init_value - peak_value) * (1 - count / warmup_steps) + peak_value
    alpha = end_value / peak_value  # cosine_decay_schedule(peak_value, decay_steps - warmup_steps, alpha), from the boundary on
    count = min(count - warmup_steps, decay_steps - warmup_steps)
    decay = 0.5 * (1 + math.cos(math.pi * count / (decay_steps - warmup_steps)))
    return peak_value * ((1 - alpha) * decay + alpha)


def test_constant():
    assert [Constant(0.1).at(update, 10) for update in (0, 5, 99)] == [0.1, 0.1, 0.1]


def test_linear_by_hand():
    schedule = Linear(rate=1.0, end=0.5)
    assert [schedule.at(update, 4) for update in (0, 1, 2, 3)] == [1.0, 0.875, 0.75, 0.625]
    assert [schedule.at(update, 4) for update in (4, 5, 1000)] == [0.5, 0.5, 0.5]


def test_warmup_cosine_by_hand():
    schedule = WarmupCosine(start=0.0, rate=1.0, end=0.2, warmup=4)
    assert [schedule.at(update, 10) for update in (0, 1, 2, 3, 4)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    # 2, 3, 4 and 6 of the 6 updates of the half cosine: cos is 1/2, 0, -1/2, -1
    assert [schedule.at(update, 10) for update in (6, 7, 8, 10, 11)] == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.2])


def test_the_defaults_are_those_of_sequential_ale():
    schedule = WarmupCosine()
    assert (schedule.at(0, 1_250_000), schedule.at(1000, 1_250_000)) == (1e-8, 6.25e-4)
    assert schedule.at(1_250_000, 1_250_000) == pytest.approx(1e-6)
    assert schedule.clock == "visit"


@settings(deadline=None)
@given(start=rates, rate=rates, end=rates, warmup=st.integers(0, 50), after=st.integers(1, 100), update=st.integers(0, 200))
def test_warmup_cosine_is_that_of_optax(start, rate, end, warmup, after, update):
    ours = WarmupCosine(start, rate, end, warmup).at(update, warmup + after)
    assert ours == pytest.approx(optax_warmup_cosine(start, rate, warmup, warmup + after, end, update), rel=1e-9, abs=1e-12)


@settings(deadline=None)
@given(low=rates, middle=rates, high=rates, warmup=st.integers(0, 50), total=st.integers(1, 100))
def test_warmup_cosine_rises_to_its_peak_and_falls_to_its_end(low, middle, high, warmup, total):
    start, end, rate = sorted((low, middle, high))
    values = [WarmupCosine(start, rate, end, warmup).at(update, total) for update in range(200)]
    rising, falling = values[: warmup + 1], values[warmup:]
    slack = 1e-12 * rate
    assert all(after >= before - slack for before, after in pairwise(rising))
    assert all(after <= before + slack for before, after in pairwise(falling))
    assert start - slack <= min(values) and max(values) <= rate + slack
    assert values[warmup] == pytest.approx(rate) and values[-1] == pytest.approx(end)


@settings(deadline=None)
@given(rate=rates, end=rates, total=st.integers(1, 100))
def test_linear_goes_one_way_and_stays_between_its_ends(rate, end, total):
    values = [Linear(rate, end).at(update, total) for update in range(200)]
    slack = 1e-12 * (rate + end)
    steps = [(after - before) * (1 if end >= rate else -1) for before, after in pairwise(values)]
    assert min(steps) >= -slack
    assert min(rate, end) - slack <= min(values) and max(values) <= max(rate, end) + slack
    assert (values[0], values[-1]) == pytest.approx((rate, end))


@pytest.mark.parametrize(("period", "growth"), [(7, 1), (5, 2), (1, 1), (2, 3)])
def test_cyclic_is_that_of_torch(period, growth):
    weight = torch.nn.Parameter(torch.zeros(()))
    theirs = torch.optim.SGD([weight], lr=0.3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(theirs, period, growth, eta_min=0.01)
    ours = Cyclic(rate=0.3, end=0.01, period=period, growth=growth)
    for update in range(60):
        assert ours.at(update, 60) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9), update
        theirs.step()
        scheduler.step()


def test_cyclic_by_hand():
    schedule = Cyclic(rate=1.0, end=0.2, period=4, growth=2)
    assert [schedule.at(update, 99) for update in (0, 2, 4, 8, 12, 20)] == pytest.approx([1.0, 0.6, 1.0, 0.6, 1.0, 0.6])
    assert Cyclic(period=10).at(10**12 + 5, 99) == pytest.approx(5e-4)  # not a loop over periods


def test_rewarm_by_hand():
    schedule = Rewarm(rate=0.5, updates=(10, 30), factor=3.0, warmup=2, decay=8)
    times = (0, 9, 10, 11, 12, 16, 20, 29, 30, 31, 32, 36, 40, 10**6)
    factors = [1, 1, 1, 2, 3, 2, 1, 1, 1, 2, 3, 2, 1, 1]
    assert [schedule.at(update, 99) / 0.5 for update in times] == pytest.approx(factors)


def test_of_two_rises_that_overlap_the_higher_counts():
    schedule, alone = Rewarm(updates=(0, 4), warmup=4, decay=8), Rewarm(updates=(0,), warmup=4, decay=8)
    later = [Rewarm(updates=(4,), warmup=4, decay=8).at(update, 99) for update in range(20)]
    assert [schedule.at(u, 99) for u in range(20)] == [max(alone.at(u, 99), later[u]) for u in range(20)]
    assert schedule.at(8, 99) == pytest.approx(10 * schedule.rate)


def test_rewarm_without_a_warmup_is_at_its_peak_at_once():
    assert [Rewarm(rate=1.0, factor=5.0, warmup=0, decay=2).at(update, 9) for update in range(4)] == pytest.approx([5, 3, 1, 1])


def test_by_default_the_rate_is_raised_at_the_start_of_every_visit():
    schedule = Rewarm()
    assert (schedule.clock, schedule.at(0, 10**5), schedule.at(1000, 10**5)) == ("visit", 1e-4, 1e-3)
    assert schedule.at(51_000, 10**5) == 1e-4


@settings(deadline=None)
@given(
    updates=st.lists(st.integers(0, 100), min_size=1, max_size=6, unique=True).map(sorted),
    factors=st.lists(st.floats(0, 10), min_size=6, max_size=6),
    update=st.integers(0, 120),
)
def test_recorded_is_numpys_interpolation(updates, factors, update):
    factors = factors[: len(updates)]
    ours = Recorded(rate=0.3, updates=tuple(updates), factors=tuple(factors)).at(update, 99)
    assert ours == pytest.approx(0.3 * np.interp(update, updates, factors), rel=1e-9, abs=1e-12)


def test_a_record_is_read_from_a_runs_own_table(tmp_path):
    # The lines of the docstring, on a table in which the length doubles from update 100 to 200.
    rows = [
        Metric(member, 0, "task", 0, 0, updates, updates, name, value * (1 + member))
        for updates, value in ((100, 2.0), (200, 4.0))
        for member in range(2)
        for name in ("weight_norm/hidden0", "weight_norm/hidden1")
    ]
    write_table(tmp_path / "metrics.csv", Metric, rows)
    lines = [line.strip() for line in (Recorded.__doc__ or "").splitlines() if line.startswith("        ")]
    assert len(lines) == 3
    scope = {"csv": csv, "Recorded": Recorded, "text": (tmp_path / "metrics.csv").read_text()}
    exec("\n".join(lines[:2]), scope)
    schedule = eval(lines[2], scope)
    assert schedule == Recorded(updates=(100, 200), factors=(1.0, 0.5))
    assert [schedule.at(update, 999) for update in (0, 150, 500)] == pytest.approx([1e-3, 0.75e-3, 0.5e-3])


def test_a_visit_shorter_than_the_warmup_never_leaves_it():
    assert [WarmupCosine(start=0.0, rate=1.0, warmup=10).at(update, 3) for update in range(3)] == pytest.approx([0.0, 0.1, 0.2])


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (Constant, {"rate": 0.0}, "rate must lie in (0, inf), not 0.0"),
        (Constant, {"rate": float("inf")}, "rate must be a finite number, not inf"),
        (Constant, {"clock": "task"}, "clock cannot be 'task'; one of: run, visit"),
        (Linear, {"rate": -1e-3}, "rate must lie in (0, inf), not -0.001"),
        (Linear, {"end": -1e-6}, "end must lie in [0, inf), not -1e-06"),
        (Linear, {"rate": "1e-3"}, "rate must be a finite number, not '1e-3'"),
        (WarmupCosine, {"start": -1.0}, "start must lie in [0, inf), not -1.0"),
        (WarmupCosine, {"rate": 0.0}, "rate must lie in (0, inf), not 0.0"),
        (WarmupCosine, {"end": -1.0}, "end must lie in [0, inf), not -1.0"),
        (WarmupCosine, {"warmup": -1}, "warmup must lie in [0, inf), not -1"),
        (WarmupCosine, {"warmup": 1e3}, "warmup must be a whole number, not 1000.0"),
        (Cyclic, {"period": 0}, "period must lie in [1, inf), not 0"),
        (Cyclic, {"growth": 0}, "growth must lie in [1, inf), not 0"),
        (Cyclic, {"growth": 1.5}, "growth must be a whole number, not 1.5"),
        (Rewarm, {"factor": 0.5}, "factor must lie in [1, inf), not 0.5"),
        (Rewarm, {"warmup": -1}, "warmup must lie in [0, inf), not -1"),
        (Rewarm, {"decay": 0}, "decay must lie in [1, inf), not 0"),
        (Rewarm, {"updates": ()}, "updates must be whole numbers that rise, from 0 on, not ()"),
        (Rewarm, {"updates": (5, 5)}, "updates must be whole numbers that rise, from 0 on, not (5, 5)"),
        (Rewarm, {"updates": (-1,)}, "updates must be whole numbers that rise, from 0 on, not (-1,)"),
        (Rewarm, {"updates": (1.0,)}, "updates must be a whole number, not 1.0"),
        (Recorded, {"updates": (3, 2), "factors": (1.0, 1.0)}, "updates must be whole numbers that rise, from 0 on, not (3, 2)"),
        (Recorded, {"updates": (2, 3)}, "factors must be as many as updates, 2, not 1"),
        (Recorded, {"factors": (-0.5,)}, "factors must lie in [0, inf), not -0.5"),
        (Recorded, {"factors": (float("nan"),)}, "factors must be a finite number, not nan"),
        (WarmupCosine, {"clock": "vist"}, "clock cannot be 'vist'; did you mean visit?"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(kind, fields, message):
    with pytest.raises(UsageError) as raised:
        kind(**fields)
    assert str(raised.value) == f"{kind.__name__}: {message}"
