"""Growth in an hour, by hand."""

import pytest

from launch.bench import soak


def test_growth_is_the_median_slope_over_the_median() -> None:
    seconds = [0.0, 10.0, 20.0, 30.0, 40.0]
    assert soak.growth(seconds, [100.0, 101.0, 102.0, 103.0, 104.0]) == pytest.approx(0.1 * 3600 / 102)
    assert soak.growth(seconds, [100.0, 100.0, 900.0, 100.0, 100.0]) == 0  # one spike is no growth


def test_what_grows_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    flat = [{name: 50.0 for name in soak.COLUMNS} | {"seconds": 10.0 * at, "steps": 1000.0 * at} for at in range(8)]
    assert soak.report(flat)
    assert "files: 50 to 50, median 50, growth +0.00% in an hour" in capsys.readouterr().out
    assert not soak.report([row | {"files": 50.0 + row["seconds"]} for row in flat])
