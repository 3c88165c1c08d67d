"""Laws of every supervised stream, and the streams whose labels change."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from envs.supervised import datasets
from envs.supervised.base import BLOCK, ImageTasks, Tasks
from envs.supervised.composite import Composite
from envs.supervised.growing import ClassIncremental, GrowingData, Recurring
from envs.supervised.inputs import DriftingInputs, PermutedInputs
from envs.supervised.labels import NoisyLabels, PermutedLabels, RandomLabels, redrawn
from envs.supervised.regression import LargeMean, SlowBits, Teachers
from launch.config.defaults import PARTS
from launch.config.papers import PRESETS
from launch.config.parse import experiment, part_class
from plasticity_rl.checks import UsageError
from plasticity_rl.seeds import members_of

STREAMS: dict[str, Tasks] = {
    "random-labels": RandomLabels(images=60, tasks=3, updates=20, fraction=0.5),
    "permuted-labels": PermutedLabels(images=60, tasks=3, updates=20, held_out=30),
    "noisy-labels": NoisyLabels(images=60, tasks=3, updates=20, held_out=30),
    "permuted-inputs": PermutedInputs(images=60, tasks=3, updates=20, held_out=30, draw="passes"),
    "drifting-inputs": DriftingInputs(images=60, tasks=3, updates=20, held_out=30, brightness=1.0),
    "growing-data": GrowingData(images=60, tasks=3, updates=20, held_out=30, noise=0.2),
    "class-incremental": ClassIncremental(images=60, tasks=3, updates=20, held_out=30),
    "recurring": Recurring(images=60, tasks=3, updates=20, held_out=30, length=4),
    "large-mean": LargeMean(images=60, tasks=3, updates=20),
    "teachers": Teachers(images=60, tasks=3, updates=20, held_out=30, function="sine", scale=2.0),
    "slow-bits": SlowBits(tasks=3, updates=20, slow=4, fast=3, hidden=10),
    "composite": Composite(images=60, tasks=3, updates=20, held_out=30, fraction=0.5),
}
"""word -> a small one"""
ALIKE = ("drifting-inputs",)
"""with the same tasks for every member"""


@pytest.fixture(params=STREAMS.values(), ids=STREAMS)
def stream(request: pytest.FixtureRequest) -> Tasks:
    return request.param


def as_text(stream: Tasks, seed: int, member: int, index: int) -> list[str]:
    """A task as comparable values."""
    return [repr(None if change is None else np.asarray(change).tolist()) for change in stream.task(seed, member, index)]


def test_every_stream_is_under_these_laws() -> None:
    words = {word for word in PARTS["benchmark"] if word not in PRESETS and part_class("benchmark", word).supervision == "labels"}
    assert words == set(STREAMS)


def test_a_task_is_a_function_of_seed_member_and_index_alone(stream: Tasks) -> None:
    assert as_text(stream, 3, 1, 2) == as_text(replace(stream, updates=7), 3, 1, 2)
    assert as_text(stream, 3, 1, 2) != as_text(stream, 3, 1, 1)
    alike = next(word for word, each in STREAMS.items() if each is stream) in ALIKE
    for other in ((3, 0), (4, 1)):
        assert (as_text(stream, 3, 1, 2) == as_text(stream, *other, 2)) == alike


def test_batches_are_the_examples_as_the_task_changes_them_whoever_asks(stream: Tasks) -> None:
    """A plain reading, example by example; members of two seeds, together and alone."""
    examples, plain = stream.load()
    members = [(0, 0), (0, 1), (7, 1)]
    opened, alone = stream.open(members, 4, "cpu"), stream.open([(0, 0)], 4, "cpu")
    visits = len(stream.visits())
    for visit, update in ((0, 0), (visits - 1, BLOCK - 1), (visits - 1, BLOCK), (visits - 1, 1)):
        batch = opened.batch(visit, update)
        assert batch["inputs"].shape == (3, 4, *stream.inputs) and batch["inputs"].dtype == torch.float32
        assert batch["labels"].shape == (3, 4)
        assert batch["labels"].dtype == (torch.int64 if stream.predicts == "classes" else torch.float32)
        for name, values in alone.batch(visit, update).items():  # members are independent
            assert torch.equal(batch[name][:1], values)
        for row, (seed, member) in enumerate(members):
            task = stream.task(seed, member, stream.order()[visit])
            learned = np.arange(stream.examples) if task.learned is None else task.learned
            drawn = stream.draws(seed, member, visit, update // BLOCK, 4, len(learned))[update % BLOCK]
            for place, example in enumerate(learned[drawn]):
                seen = examples[example].ravel()
                seen = seen if task.pixels is None else seen[task.pixels]
                seen = (seen * np.float32(task.scale) + np.float32(task.shift)).reshape(stream.inputs)
                np.testing.assert_allclose(batch["inputs"][row, place], seen, rtol=1e-6)
                assert batch["labels"][row, place] == (plain if task.labels is None else task.labels)[example]
    first = opened.batch(0, 0)["inputs"]
    assert not torch.equal(first[0], first[1]) and not torch.equal(first[1], first[2])


def test_tests_are_what_was_held_out_and_nothing_that_is_learned(stream: Tasks) -> None:
    opened, last = stream.open([(0, 0), (0, 1)], 4, "cpu"), len(stream.visits()) - 1
    parts = list(opened.tests(last))
    if not getattr(stream, "held_out", 0):
        assert not parts
        return
    examples, plain = stream.load()
    for row in range(2):
        task = stream.task(0, row, stream.order()[last])
        tested = np.arange(stream.examples, len(plain)) if task.tested is None else task.tested
        assert tested.min() >= stream.examples
        weights = torch.cat([part["weights"] for part in parts], 1)[row].bool()
        labels = torch.cat([part["labels"] for part in parts], 1)[row][weights]
        np.testing.assert_array_equal(labels, (plain if task.labels is None else task.labels)[tested])
        inputs = torch.cat([part["inputs"] for part in parts], 1)[row][weights].flatten(1)
        seen = examples[tested].reshape(len(tested), -1)
        seen = seen if task.pixels is None else seen[:, task.pixels]
        np.testing.assert_allclose(inputs, seen * np.float32(task.scale) + np.float32(task.shift), rtol=1e-6)


def test_fingerprints_change_exactly_if_something_of_the_definition_does(stream: Tasks) -> None:
    prints = [stream.fingerprint(0, 2), stream.fingerprint(1, 2), stream.fingerprint(0, 3)]
    prints += [replace(stream, tasks=2).fingerprint(0, 2), replace(stream, draw="uniform", updates=21).fingerprint(0, 2)]
    if isinstance(stream, ImageTasks):
        prints += [replace(stream, images=61).fingerprint(0, 2), replace(stream, dataset="gaussian").fingerprint(0, 2)]
    assert len(set(prints)) == len(prints)
    assert stream.fingerprint(0, 2) == replace(stream).fingerprint(0, 2)


def test_a_fingerprint_sees_the_code_that_makes_a_task(stream: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    before, task = stream.fingerprint(0, 1), type(stream).task
    monkeypatch.setattr(type(stream), "task", lambda self, seed, member, index: task(self, seed, member, index)._replace(shift=0.5))
    assert stream.fingerprint(0, 1) != before


def test_visits_come_back_to_the_same_tasks() -> None:
    stream = RandomLabels(images=10, tasks=2, cycles=2, updates=5)
    assert [(visit.task, visit.cycle) for visit in stream.visits()] == [("labels-0", 0), ("labels-1", 0), ("labels-0", 1), ("labels-1", 1)]
    opened = stream.open([(0, 0)], 500, "cpu")
    pairs = []
    for visit in (0, 1, 2):
        batch = opened.batch(visit, 0)
        pairs.append({(tuple(image.tolist()), label.item()) for image, label in zip(batch["inputs"][0], batch["labels"][0], strict=True)})
    assert pairs[0] == pairs[2] and pairs[0] != pairs[1]  # all ten images, each many times


def test_uniform_draws_are_uniform() -> None:
    drawn = np.concatenate([RandomLabels().draws(0, 0, 0, block, 32, 50).ravel() for block in range(4)])
    expected = len(drawn) / 50
    assert ((np.bincount(drawn, minlength=50) - expected) ** 2 / expected).sum() < 85.4  # chi-square, 49 degrees of freedom, p = 0.001


@pytest.mark.parametrize("examples", [7, 1000, 100_000])
def test_passes_take_every_example_once_before_any_twice(examples: int) -> None:
    stream = RandomLabels(draw="passes")
    drawn = np.concatenate([stream.draws(0, 0, 0, block, 8, examples).ravel() for block in range(3)])
    whole = len(drawn) // examples
    for each in range(whole):
        np.testing.assert_array_equal(np.sort(drawn[each * examples : (each + 1) * examples]), np.arange(examples))
    rest = drawn[whole * examples :]
    assert len(np.unique(rest)) == len(rest)
    if whole > 1:
        assert not np.array_equal(drawn[:examples], drawn[examples : 2 * examples])


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))])
def test_batches_are_on_the_device_that_was_asked_for_and_the_same_there(device: str, stream: Tasks) -> None:
    asked, here = stream.open([(0, 0)], 4, device), stream.open([(0, 0)], 4, "cpu")
    for name, values in asked.batch(1, 3).items():
        assert values.device.type == device
        torch.testing.assert_close(values.cpu(), here.batch(1, 3)[name])
    assert asked.variance(1).device.type == device


def test_the_device_argument_is_heeded() -> None:
    with pytest.raises(RuntimeError, match="no-such-device"):
        PermutedInputs(images=10).open([(0, 0)], 4, "no-such-device")


def test_random_labels_do_not_depend_on_how_many_tasks_there_are() -> None:
    stream, again = RandomLabels(), RandomLabels(tasks=500, updates=7)
    np.testing.assert_array_equal(labels_of(stream, 3, 1, 4), labels_of(again, 3, 1, 4))
    for other in ((4, 1, 4), (3, 2, 4), (3, 1, 5)):
        assert 0.05 < (labels_of(stream, 3, 1, 4) == labels_of(stream, *other)).mean() < 0.15  # as often as two strangers' of ten


def test_random_labels_are_uniform() -> None:
    counts = np.bincount(np.concatenate([labels_of(RandomLabels(), 0, member, 0) for member in range(20)]), minlength=10)
    expected = counts.sum() / 10
    assert ((counts - expected) ** 2 / expected).sum() < 27.9  # chi-square of 9 degrees of freedom, p = 0.001


@pytest.mark.parametrize("fraction", [0.01, 0.25, 1.0])
def test_the_fraction_is_what_is_drawn_anew(fraction: float) -> None:
    stream = RandomLabels(images=1000, fraction=fraction)
    changed = [(labels_of(stream, 0, m, t) != labels_of(stream, 0, m, t + 1)).mean() for m in range(5) for t in range(5)]
    assert np.mean(changed) == pytest.approx(fraction * 0.9, abs=0.02)  # one in ten draws is the old label


@pytest.mark.parametrize("fraction", [0.003, 0.1, 1.0])
def test_what_is_drawn_anew_task_by_task_is_found_from_its_last_draws(fraction: float) -> None:
    """The same numbers as by iteration from task 0, at a cost independent of the task."""
    asked = []

    def random(task: int) -> np.random.Generator:
        asked.append(task)
        return np.random.default_rng([7, task])

    def draw(source: np.random.Generator, size: int) -> np.ndarray:
        return source.standard_normal(size)

    forward, counts = np.zeros(150), []
    for index in range(400):
        source = random(index)
        changed = source.permutation(150)[: max(1, round(fraction * 150)) if index else 150]
        forward[changed] = draw(source, len(changed))
        asked.clear()
        np.testing.assert_array_equal(redrawn(150, fraction, index, random, draw), forward)
        counts.append(len(asked))
    # The last of 150 is found after (ln 150 + 0.58) / -ln(1 - share) tasks on average: 53 at a tenth.
    assert np.mean(counts[200:]) == pytest.approx({0.003: 300, 0.1: 53, 1.0: 1}[fraction], rel=0.1)


def test_streams_that_draw_a_share_anew_are_as_they_were() -> None:
    def digest(array: np.ndarray) -> str:
        return hashlib.sha256(array.tobytes()).hexdigest()[:16]

    found = [digest(labels_of(RandomLabels(images=300, fraction=share), 3, 1, 40)) for share in (0.02, 0.2, 1.0)]
    plain = Composite(images=200, held_out=100, tasks=50, target_scale=1.0, target_offset=0.0)
    found += [digest(labels_of(replace(plain, fraction=share), 3, 1, 40)) for share in (0.02, 1.0)]
    assert found == ["f18e77e30244481b", "3c0081ba152f6177", "39fec7be2b1d4b1f", "756ff1c9d83f76b1", "c00f936cea1d5471"]


def test_permuted_labels_are_the_true_ones_by_other_names() -> None:
    stream, true = PermutedLabels(images=500), datasets.load("digits", 500)[1]
    names = []
    for index in range(3):
        labels = labels_of(stream, 0, 0, index)
        assert len({*zip(true.tolist(), labels.tolist(), strict=True)}) == 10 == len(set(labels.tolist()))
        names.append(dict(zip(true.tolist(), labels.tolist(), strict=True)))
    assert names[0] != names[1] != names[2]


def test_every_name_is_given_equally_often() -> None:
    given = np.array([labels_of(PermutedLabels(images=1), 0, member, 0)[0] for member in range(2000)])
    assert ((np.bincount(given, minlength=10) - 200) ** 2 / 200).sum() < 27.9  # chi-square of 9 degrees of freedom, p = 0.001


def test_noise_replaces_its_share_decays_and_leaves_tests_clean() -> None:
    stream, true = NoisyLabels(images=1000, held_out=500, noise=0.8, final=0.2, tasks=3), datasets.load("digits", 1500)[1]
    for index, share in enumerate((0.8, 0.5, 0.2)):
        wrong = np.mean([(labels_of(stream, 0, member, index) != true)[:1000].mean() for member in range(10)])
        assert wrong == pytest.approx(0.9 * share, abs=0.01)  # one in ten draws is the true label
        np.testing.assert_array_equal(labels_of(stream, 0, 0, index)[1000:], true[1000:])
    assert (labels_of(replace(stream, noise=0.0, final=0.0), 0, 0, 1) == true).all()


def test_pixels_change_places_and_nothing_else() -> None:
    stream = PermutedInputs(dataset="gaussian-3x4x4", images=5)
    for index in range(2):
        pixels = stream.task(0, 0, index).pixels
        assert pixels is not None
        np.testing.assert_array_equal(np.sort(pixels), np.arange(48))
        assert not np.array_equal(pixels, np.arange(48))


def test_every_pixel_comes_to_every_place_equally_often() -> None:
    stream = PermutedInputs(dataset="gaussian-5", images=1)
    pixels = np.array([stream.task(0, member, 0).pixels for member in range(2000)])
    counts = np.stack([np.bincount(place, minlength=5) for place in pixels.T])
    assert ((counts - 400) ** 2 / 400).sum() < 49.1  # permutations: 5 / 4 times chi-square, 16 degrees of freedom; p = 0.001


def test_inputs_drift_from_themselves_in_equal_ratios() -> None:
    stream = DriftingInputs(tasks=3, scale=100.0, brightness=-4.0)
    assert [(stream.task(0, 0, index).scale, stream.task(0, 0, index).shift) for index in range(3)] == [(1, 0), (10, -2), (100, -4)]


@pytest.mark.parametrize(
    ("word", "error"),
    [
        ("random-labels:images=1798", r"images must lie in \[1, 1797\], not 1798"),
        ("random-labels:held_out=10", "held_out must be 0"),
        ("permuted-labels:images=1700,held_out=98", r"held_out must lie in \[0, 97\], not 98"),
        ("permuted-inputs:dataset=mnits", "unknown dataset 'mnits'; did you mean mnist?"),
        ("permuted-inputs:draw=epochs", "did you mean passes|one of: passes, uniform"),
        ("noisy-labels:noise=1.5", r"noise must lie in \[0, 1\]"),
        ("drifting-inputs:scale=0", "scale must lie in"),
        ("drifting-inputs:cycles=0", "cycles must lie in"),
    ],
)
def test_what_is_out_of_range_is_refused_in_one_line(word: str, error: str) -> None:
    with pytest.raises(UsageError, match=error) as caught:
        experiment({"benchmark": word})
    assert "\n" not in str(caught.value)


def test_members_of_one_seed_are_what_they_are_in_the_shared_stream() -> None:
    stream = RandomLabels(images=50, tasks=2)
    mixed, own = stream.open([(7, 2), (0, 1)], 8, "cpu"), [stream.open(members_of(seed, 3), 8, "cpu") for seed in (7, 0)]
    for name, values in mixed.batch(1, 3).items():
        assert torch.equal(values, torch.stack([own[0].batch(1, 3)[name][2], own[1].batch(1, 3)[name][1]]))


def labels_of(stream: Tasks, seed: int, member: int, index: int) -> np.ndarray:
    labels = stream.task(seed, member, index).labels
    assert labels is not None
    return labels
