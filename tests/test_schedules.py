import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plasticity_rl.checks import UsageError
from plasticity_rl.schedules import Constant, Linear, WarmupCosine

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
        (WarmupCosine, {"clock": "vist"}, "clock cannot be 'vist'; did you mean visit?"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(kind, fields, message):
    with pytest.raises(UsageError) as raised:
        kind(**fields)
    assert str(raised.value) == f"{kind.__name__}: {message}"
