"""Streams whose data grow or come in parts."""

from itertools import pairwise

import numpy as np
import pytest

from envs.supervised import datasets
from envs.supervised.growing import ClassIncremental, GrowingData, Recurring
from launch.config.parse import experiment
from plasticity_rl.checks import UsageError
from tests.training import LABELS, events, scores

SMALL = LABELS | {"checkpoint_every": 100, "diagnose_every": 100, "schedule": "constant:rate=1e-2", "members": 1}


def learned(stream: GrowingData | ClassIncremental | Recurring, member: int, index: int) -> np.ndarray:
    found = stream.task(0, member, index).learned
    assert found is not None
    return found


def test_stages_grow_by_equal_steps_and_keep_what_they_had() -> None:
    stream = GrowingData(images=100, tasks=4, first=0.4)
    parts = [learned(stream, 0, index) for index in range(4)]
    assert [len(part) for part in parts] == [40, 60, 80, 100]
    for less, more in pairwise(parts):
        assert set(less) <= set(more)
    assert set(parts[0]) != set(learned(stream, 1, 0))


def test_every_image_is_in_the_first_half_equally_often() -> None:
    stream = GrowingData(images=20)
    counts = np.bincount(np.concatenate([learned(stream, member, 0) for member in range(1000)]), minlength=20)
    # Hypergeometric: each count has variance 1000 / 4, all sum to 10,000, so 19 / 20 of the statistic is chi-square of 19; p = 0.001
    assert 19 / 20 * ((counts - 500) ** 2 / 250).sum() < 43.8


def test_noise_is_the_same_in_all_stages_and_not_in_what_is_held_out() -> None:
    stream, true = GrowingData(images=1000, held_out=500, noise=0.3, tasks=3), datasets.load("digits", 1500)[1]
    labels = [stream.task(0, 0, index).labels for index in range(3)]
    np.testing.assert_array_equal(labels[0], labels[2])
    assert labels[0] is not None and (labels[0][1000:] == true[1000:]).all()
    assert (labels[0][:1000] != true[:1000]).mean() == pytest.approx(0.27, abs=0.03)  # one in ten draws is the true label


def test_classes_come_in_turn_and_stay_and_are_tested_when_met() -> None:
    true = datasets.load("digits", 1700)[1]
    for keep in (True, False):
        stream = ClassIncremental(tasks=5, arriving=2, keep=keep)
        met: set[int] = set()
        for index in range(5):
            task = stream.task(0, 3, index)
            assert task.learned is not None and task.tested is not None
            now, tested = set(true[task.learned].tolist()), set(true[task.tested].tolist())
            assert len(now - met) == 2 and len(tested) == 2 * (index + 1) and (met <= now if keep else not met & now)
            met |= now
            assert tested == met and task.learned.max() < 1200 <= task.tested.min()
            assert len(task.tested) == np.isin(true[1200:], list(met)).sum()
    assert set(true[learned(stream, 3, 0)]) != set(true[learned(stream, 4, 0)])


def test_members_with_fewer_held_out_images_are_tested_on_theirs_alone() -> None:
    stream = ClassIncremental(images=1000, held_out=700)
    counts = [len(stream.task(0, member, 0).tested) for member in range(4)]
    parts = list(stream.open([(0, member) for member in range(4)], 4, "cpu").tests(0))
    assert len(set(counts)) > 1 and sum(part["weights"].sum(1) for part in parts).tolist() == counts


def test_tasks_recur_in_one_order_for_everyone_with_classes_of_each_members_own() -> None:
    stream, true = Recurring(tasks=4, length=200, classes=3), datasets.load("digits", 1200)[1]
    visits = stream.visits()
    assert len(visits) == 200 and {visit.task for visit in visits} == {"subset-0", "subset-1", "subset-2", "subset-3"}
    counts = np.bincount(stream.order())
    assert ((counts - 50) ** 2 / 50).sum() < 16.3  # chi-square of 3 degrees of freedom, p = 0.001
    for task in range(4):
        assert [visit.cycle for visit in visits if visit.task == f"subset-{task}"] == list(range(counts[task]))
    subsets = [tuple(sorted(set(true[learned(stream, member, task)].tolist()))) for member in range(2) for task in range(4)]
    assert all(len(subset) == 3 for subset in subsets) and len(set(subsets)) > 4
    assert stream.order() == Recurring(tasks=4, length=300).order()[:200]


def test_a_warm_start_is_scored_by_held_out_images() -> None:
    found = events(experiment(SMALL | {"benchmark": "growing-data:images=200,held_out=200,updates=100"}))
    tests = scores(found, "test")
    assert [(score.task, score.updates) for score in tests] == [("stage-0", 100), ("stage-1", 200)]
    assert tests[1].score > tests[0].score > 0.3  # more data, and twice the updates


@pytest.mark.parametrize(
    ("word", "error"),
    [
        ("growing-data:first=0", r"first must lie in \(0, 1\]"),
        ("growing-data:held_out=598", r"held_out must lie in \[0, 597\]"),
        ("class-incremental:tasks=6", "6 tasks of 2 classes need more than 10 classes"),
        ("recurring:classes=11", "classes must be at most 10, not 11"),
    ],
)
def test_what_is_out_of_range_is_refused(word: str, error: str) -> None:
    with pytest.raises(UsageError, match=error):
        experiment({"benchmark": word})


def test_too_few_images_for_a_class_are_refused() -> None:
    with pytest.raises(UsageError, match="the first 3 images of digits lack all classes of a task"):
        ClassIncremental(images=3, arriving=1).fingerprint(0, 20)
