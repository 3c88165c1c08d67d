"""Gradual transitions between tasks: each example's task."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.diagnostics.probing import stream_of
from agents.loops.stream import StreamLoop
from envs.supervised.base import BLOCK, Tasks
from envs.supervised.inputs import DriftingInputs
from launch.config.parse import experiment
from plasticity_rl.checks import UsageError
from plasticity_rl.seeds import derive
from tests.envs.supervised.test_streams import STREAMS
from tests.training import LABELS


@pytest.mark.parametrize(("gradual", "shares"), [(0.5, [1, 0.9, 0.5, 0.1, 0, 0]), (1.0, [1, 0.95, 0.75, 0.55, 0.5, 0.05])])
def test_the_share_of_the_last_task_falls_linearly(gradual: float, shares: list[float]) -> None:
    """20 updates; the second task's inputs are brighter by 1000."""
    stream = DriftingInputs(images=60, tasks=2, updates=20, scale=1.0, brightness=1000.0, gradual=gradual).open(
        [(0, 0), (0, 1)], 5000, "cpu"
    )
    for update, share in zip((0, 1, 5, 9, 10, 19), shares, strict=True):
        bright = stream.batch(1, update)["inputs"].flatten(2).mean(2) > 500
        assert bright.float().mean().item() == pytest.approx(1 - share, abs=0.01)
        assert not torch.equal(bright[0], bright[1]) or share in (0, 1)
        assert not (stream.batch(0, update)["inputs"] > 500).any()  # nothing comes before the first


@pytest.mark.parametrize("word", STREAMS)
def test_each_example_is_of_one_task_whole(word: str) -> None:
    """Input and label, against a plain reading, across blocks; unchanged in the first visit and after the change."""
    stream: Tasks = replace(STREAMS[word], gradual=0.75, updates=2 * BLOCK)
    abrupt, opened, (examples, plain) = (
        replace(stream, gradual=0.0).open([(0, 0), (7, 1)], 4, "cpu"),
        stream.open([(0, 0), (7, 1)], 4, "cpu"),
        stream.load(),
    )
    mixed = 2 * BLOCK * 0.75
    for update in (0, BLOCK - 1, BLOCK, 300):
        batch, old = opened.batch(1, update), 0
        for row, (seed, member) in enumerate([(0, 0), (7, 1)]):
            random = np.random.default_rng(derive(seed, member, "last task", 1, update // BLOCK)).random((BLOCK, 4))[update % BLOCK]
            for place in range(4):
                task = stream.task(seed, member, stream.order()[0 if random[place] >= update / mixed else 1])
                learned = np.arange(stream.examples) if task.learned is None else task.learned
                example = learned[stream.draws(seed, member, 1, update // BLOCK, 4, len(learned))[update % BLOCK, place]]
                seen = examples[example].ravel()
                seen = seen if task.pixels is None else seen[task.pixels]
                seen = (seen * np.float32(task.scale) + np.float32(task.shift)).reshape(stream.inputs)
                np.testing.assert_allclose(batch["inputs"][row, place], seen, rtol=1e-6)
                assert batch["labels"][row, place] == (plain if task.labels is None else task.labels)[example]
                old += random[place] >= update / mixed
        assert old == 8 if update == 0 else old < 8
    for visit, update in ((0, 3), (1, 384), (1, 2 * BLOCK - 1)):  # 384 = three quarters of 512
        for name, values in opened.batch(visit, update).items():
            assert torch.equal(values, abrupt.batch(visit, update)[name])
    for one, other in zip(opened.tests(1), abrupt.tests(1), strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)  # held-out examples are of the new task


def test_a_visit_that_is_entered_in_its_middle_is_the_same() -> None:
    stream = replace(STREAMS["permuted-inputs"], gradual=1.0)
    through, entered = stream.open([(0, 0)], 8, "cpu"), stream.open([(0, 0)], 8, "cpu")
    for update in range(10):
        through.batch(1, update)
    assert torch.equal(through.batch(1, 10)["inputs"], entered.batch(1, 10)["inputs"])


def test_probes_learn_a_task_alone() -> None:
    words = LABELS | {"probe_updates": 3}
    gradual, abrupt = (experiment(words | {"benchmark": f"{LABELS['benchmark']},gradual={share}"}) for share in (1, 0))
    probed = StreamLoop(gradual.agent, [gradual], "cpu", False).probing[0]._stream_batches([0, 2])(0)
    for place, visit in enumerate((0, 2)):
        assert torch.equal(probed["labels"][place, 0], stream_of(abrupt, "cpu").batch(visit, 0)["labels"])
        assert torch.equal(stream_of(gradual, "cpu").batch(2, 0)["labels"], probed["labels"][1, 0]) is False


@pytest.mark.parametrize("share", ["-0.1", "1.1"])
def test_a_share_is_a_share(share: str) -> None:
    with pytest.raises(UsageError, match=r"gradual must lie in \[0, 1\]"):
        experiment(LABELS | {"benchmark": f"random-labels:gradual={share}"})
