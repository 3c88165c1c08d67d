"""The catalogue of metrics: as in docs/metrics.md, and without torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from plasticity_rl.metrics.catalogue import METRICS, metric_of

ROOT = Path(__file__).parents[3]


def listed() -> list[list[str]]:
    """Rows of the table of all names in docs/metrics.md."""
    table = (ROOT / "docs" / "metrics.md").read_text().partition("## All names")[2]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| `")]


def test_the_guide_lists_every_metric_as_it_is():
    named = {metric.name: f"`{metric.name}{'/...' if metric.keyed else ''}`" for metric in METRICS.values()}
    expected = [
        [
            named[metric.name],
            metric.title,
            metric.group,
            metric.every,
            metric.join if metric.keyed else "",
            "yes" if metric.untrained else "",
        ]
        for metric in METRICS.values()
    ]
    assert listed() == expected


def test_titles_tell_metrics_apart():
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("loss", "loss"),
        ("dead_fraction/hidden0", "dead_fraction"),
        ("probe_final_fresh/random", "probe_final"),
        ("ntk_rank_fresh", "ntk_rank"),
    ],
)
def test_a_name_finds_its_row(name, row):
    assert metric_of(name) is METRICS[row]


def test_the_catalogue_needs_no_torch():
    code = "import sys, plasticity_rl.metrics.catalogue; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
