"""The papers' settings, as words."""

import pytest

from launch.config.papers import PRESETS
from launch.config.parse import experiment
from launch.config.show import print_page
from plasticity_rl.experiment import Experiment

# word -> tasks, updates, batch, and number of examples learned from: the papers' or, where unknown, their pages'
SIZES = {
    "dohare-permuted": (800, 60_000, 1, 60_000),
    "kumar-permuted": (500, 625, 16, 10_000),
    "kumar-random-labels": (50, 30_000, 16, 1_200),
    "upgd-input-permuted": (200, 5_000, 1, 60_000),
    "upgd-label-permuted": (400, 2_500, 1, 50_000),
    "lyle-random-labels": (100, 50_000, 32, 50_000),
    "nap-random-labels": (200, 100_000, 32, 50_000),
    "ash-adams-warm-start": (2, 20_000, 128, 50_000),
    "zaidi-stages": (10, 4_000, 128, 50_000),
    "zaidi-noisy-stages": (10, 4_000, 128, 50_000),
}


def test_every_preset_is_held_to_its_numbers() -> None:
    assert set(SIZES) == set(PRESETS)
    for word, (tasks, updates, batch, examples) in SIZES.items():
        made = experiment({"benchmark": word})
        assert (made.benchmark.tasks, made.benchmark.updates, made.agent.batch_size, made.benchmark.examples) == (
            tasks,
            updates,
            batch,
            examples,
        )
        assert Experiment.from_json(made.to_json()) == made


def test_what_is_said_stands_before_the_paper() -> None:
    made = experiment({"benchmark": "kumar-permuted:dataset=digits,images=100", "agent": "supervised:record_every=5", "network": "mlp"})
    assert (made.benchmark.dataset, made.benchmark.tasks, made.agent.batch_size, made.agent.record_every) == ("digits", 500, 16, 5)
    assert (made.network.depth, made.network.width) == (2, 100)


@pytest.mark.parametrize("word", PRESETS)
def test_a_page_tells_where_each_setting_comes_from(word: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    print_page(word)
    page = capsys.readouterr().out
    assert "arXiv" in page or "show zaidi-stages" in page
    assert any(mark in page for mark in ("code:", "secondary:", "memory:")) or word == "zaidi-noisy-stages"
    assert f"agent: {experiment_words(word)}" in page
    for value in PRESETS[word].settings.values():
        assert f" {value} " in page


def experiment_words(word: str) -> str:
    return str(PRESETS[word].defaults["agent"])
