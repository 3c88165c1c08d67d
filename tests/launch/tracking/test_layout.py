"""TensorBoard's groups of curves, against the names that real runs report."""

import re
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

from launch.config.parse import experiment
from launch.run.runner import describe
from launch.tracking.curves import Curves
from launch.tracking.layout import CHARTS, description, layout
from launch.tracking.tensorboard import TensorBoard
from plasticity_rl.metrics.catalogue import METRICS, metric_of
from plasticity_rl.records.events import Metric, Score
from plasticity_rl.records.folder import RunFolder
from tests.fake_runs import write_run
from tests.training import CARTPOLE, LABELS, events

CHAIN = ["tanh", "nap:norm=layer,scale_and_offset=toward_init", "l2-init", "noisy-updates", "redo:every=10"]
STREAM = LABELS | {"chain": CHAIN, "curvature_every": 40, "probe_every": 40, "probe_updates": 2}
PPO = "ppo:num_envs=4,rollout_length=8,epochs=1,minibatches=1"
GAME = CARTPOLE | {"agent": PPO, "diagnose_every": 5, "evaluate": 1, "probe_every": 5, "probe_updates": 2}

PENDULUM = GAME | {"benchmark": "envpool:ids=Pendulum-v1,frames=200", "agent": "sac:num_envs=4,batch_size=8,replay=160,min_replay=40"}


@pytest.fixture(scope="module")
def tags() -> set[str]:
    """Curves of a stream, a game and a pendulum with every option except Ray."""
    found: set[str] = set()
    for said in (STREAM, GAME, PENDULUM):
        made = experiment(said)
        curves = Curves(describe(made), lambda tag, value, at: found.add(tag))
        for event in events(made):
            if isinstance(event, Score | Metric):
                curves.add(event)
        curves.flush()
    return found


def matches(patterns: list[str], tags: set[str]) -> set[str]:
    """A tag's beginning, as in TensorBoard."""
    return {tag for pattern in patterns for tag in tags if re.match(pattern, tag)}


def test_every_pattern_finds_a_curve_and_every_curve_is_in_one_chart(tags: set[str]) -> None:
    charts = {
        chart: patterns for category, charts in CHARTS.items() if category not in ("Ray", "failures") for chart, patterns in charts.items()
    }
    assert [pattern for patterns in charts.values() for pattern in patterns if not matches([pattern], tags)] == []
    assert {tag: shown for tag in tags if len(shown := [chart for chart in charts if matches(charts[chart], {tag})]) != 1} == {}


def test_an_untrained_networks_curve_lies_in_the_same_chart(tags: set[str]) -> None:
    for fresh in (tag for tag in tags if "_fresh" in tag):
        (chart,) = [patterns for charts in CHARTS.values() for patterns in charts.values() if matches(patterns, {fresh})]
        assert matches(chart, {fresh.replace("_fresh", "")})


def test_the_catalogue_says_which_metrics_an_untrained_network_has_too(tags: set[str]) -> None:
    names = {tag.removeprefix("training/") for tag in tags if not tag.startswith(("Score/", "Evaluation/"))}
    fresh = {metric_of(name).name for name in names if name.partition("/")[0].endswith("_fresh")}
    assert fresh == {metric.name for metric in METRICS.values() if metric.untrained}
    keyed = {metric_of(name).name for name in names if "/" in name}
    assert keyed == {metric.name for metric in METRICS.values() if metric.keyed}


def test_charts_without_curves_are_left_out() -> None:
    assert layout([]) == {}
    assert layout(["training/actor_deaths", "training/loss", "spectrum/hidden0"]) == {
        "plasticity": {"loss": ["Multiline", ["training/loss$"]]},
        "Ray": {"actors that died": ["Multiline", ["training/actor_deaths$"]]},
    }


def test_the_layout_in_the_event_file_grows_with_the_curves(tmp_path: Path) -> None:
    made = describe(experiment(LABELS))
    run = write_run(tmp_path, made, [])
    with TensorBoard(RunFolder(run), made) as board:
        board.add(Score(0, 0, "a", 0, 0, 20, 20, "online", 0.5))
        for updates in (40, 60, 80):
            board.add(Metric(0, 0, "a", 0, 0, updates, updates, "loss", 1.0))
    written = EventAccumulator(str(run / "tb")).Reload().Tensors("custom_scalars__config__")
    titles = [
        [
            (category.title, chart.title)
            for category in Layout.FromString(each.tensor_proto.string_val[0]).category
            for chart in category.chart
        ]
        for each in written
    ]
    assert titles == [[("score", "in training")], [("score", "in training"), ("plasticity", "loss")]]


def test_the_text_says_what_the_run_is() -> None:
    said = description(describe(experiment(LABELS | {"chain": ["redo:tau=0.2"], "seed": 7})))
    assert "**redo:tau=0.2** on random-labels: 2 members, seed 7" in said
    assert "3 visits, 120 updates for each member: labels-0, labels-1, labels-2" in said
    assert re.search(r"\| method \| redo \| .*tau 0.2", said) and "| network | mlp | " in said
