"""Claims from data to page: choices, reports, skipped parts; and that every claim's file holds experiments."""

import dataclasses
from pathlib import Path

import pytest
import torch

from launch.__main__ import main
from launch.claims import run as claims
from launch.claims.definition import Arm, Claim, Scale, cells, fill, placeholders
from launch.config.parse import experiment
from plasticity_rl.interventions import assemble
from plasticity_rl.networks.network import Network
from plasticity_rl.records.events import Metric
from plasticity_rl.records.folder import RunFolder
from plasticity_rl.seeds import derive
from tests.run_folders import run_paths

TINY = Claim(
    title="A tiny one",
    says="Something",
    paper="nobody",
    notes="",
    grid={"rate": ("1e-30", "1e-2", "1e30")},
    arms=(
        Arm("adam", {"optimizer": "adam"}),
        Arm("adam, beta2 = 0.9, epsilon = 1e-3", {"optimizer": "adam:beta2=0.9,epsilon=1e-3"}),
        Arm("follower", {"chain": ["nap"], "schedule": "recorded:rate={rate},updates={moments},factors={factors}"}, like="adam"),
    ),
    scales={
        "small": Scale(
            words={
                "benchmark": "random-labels:tasks={tasks},updates=60,images=40",
                "network": "mlp:width=16,depth=1",
                "schedule": "constant:rate={rate}",
                "diagnose_every": 30,
            },
            reported={"tasks": "3"},
            selected={"tasks": "1"},
            members=2,
        )
    },
)


def test_a_claim_is_tried_from_the_grid_to_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """A rate of 1e-30 learns nothing and one of 1e30 diverges, so 1e-2 is chosen."""
    monkeypatch.setattr(claims, "load_claims", lambda: {4: TINY})
    monkeypatch.setitem(claims.write_page.__globals__["VERDICTS"], 4, lambda results: _adam_learns(results))
    words = ["claims", "4", "--runs", str(tmp_path), "--device", "cpu", "--eager"]
    assert main(words) == 0
    (trial,) = claims.trials((4,), "small", tmp_path)
    chosen = trial.choices()
    assert {key: choice.values for key, choice in chosen.items()} == {arm.key: {"rate": "1e-2"} for arm in TINY.arms}
    scores = chosen["adam"].scores
    assert scores["1e-2"] > scores["1e-30"] > 0 and scores["1e30"] == -float("inf")
    specs = [RunFolder(run).read_spec() for run in run_paths(tmp_path)]
    assert {(spec.seed, spec.members, len(spec.visits)) for spec in specs} == {(1, 3, 1), (0, 2, 3)}
    assert [spec.seed for spec in specs].count(0) == 3
    results = trial.results(chosen)
    _record_is_of_its_run(trial, chosen)
    assert list(results) == [arm.key for arm in TINY.arms] and results["adam"].area.shape == (2, 3)
    page = (tmp_path / "claims-small" / "claims.md").read_text()
    assert "| [4. A tiny one](#claim-4) | reproduced |" in page and "1e30: diverged" in page
    assert (tmp_path / "claims-small" / "claims" / "claim4.png").stat().st_size > 1000
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("scores.csv") if (path.parent / "DONE").exists()}
    assert main(words) == 0 and before == {path: path.stat().st_mtime_ns for path in before}
    assert "skipped" in capsys.readouterr().out
    assert main(["claims", "7", "--runs", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "error: unknown claim '7'; one of: 4\n"


def _record_is_of_its_run(trial: claims.Trial, chosen) -> None:
    """Factors of the follower's rate: 1 at birth, then initial over later length in the run that it follows."""
    said = trial.reported(chosen)
    recorded, original = experiment(said["follower"]).schedule, experiment(said["adam"])
    rows, _ = trial.place(original).read_rows(Metric)
    lengths = [[row.value for row in rows if (row.name, row.updates) == ("weight_norm/hidden0", updates)] for updates in range(30, 181, 30)]
    network = Network(original.network, (64,), 10)
    births = [network.init(torch.Generator().manual_seed(derive(0, member, "network", "birth"))) for member in range(2)]
    born = sum(float(params["hidden0.weight"].norm()) for params in births) / 2
    assert recorded.updates == (0, *range(30, 181, 30)) and recorded.rate == 1e-2
    assert recorded.factors == pytest.approx([1.0, *(born / (sum(each) / 2) for each in lengths)], rel=1e-4)


def _adam_learns(results):
    from analysis.claims.predicates import All, above
    from analysis.statistics.intervals import difference

    area = results["adam"].area
    return All("all of:", (above("the third visit less a tenth lies above 0", difference, area[:, 2:], 0 * area[:, 2:] + 0.1),))


def test_a_damaged_run_ends_its_claim_and_the_next_is_tried_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    size = dataclasses.replace(TINY.scales["small"], grid={"rate": ("1e-3", "1e-2")}, members=2)
    size = dataclasses.replace(size, words=size.words | {"benchmark": "random-labels:tasks={tasks},updates=10,images=40"})
    known = {
        number: dataclasses.replace(TINY, arms=(Arm("adam", {"optimizer": f"adam:beta2={beta}"}),), scales={"small": size})
        for number, beta in ((3, 0.9), (4, 0.99))
    }
    monkeypatch.setattr(claims, "load_claims", lambda: known)
    for number in known:
        monkeypatch.setitem(claims.write_page.__globals__["VERDICTS"], number, lambda results: _adam_learns(results))
    words = ["claims", "--runs", str(tmp_path), "--device", "cpu", "--eager"]
    page = tmp_path / "claims-small" / "claims.md"
    assert main(words) == 0 and "not run" not in page.read_text()
    (first,) = claims.trials((3,), "small", tmp_path)
    damaged = first.place(experiment(first.searched()["adam"][0][1]))
    for file, damage in ((damaged.scores, b""), (damaged.spec, b"{")):
        kept, _ = file.read_bytes(), file.write_bytes(damage)
        capsys.readouterr()
        assert main(words) == 2
        said = capsys.readouterr()
        assert said.err.startswith("error: ") and damaged.path.name in said.err and said.err.count("\n") == 1
        assert "claim 3: not run" in said.out and "claim 4: not run" not in said.out
        assert "| [4. A tiny one](#claim-4) | not run |" not in page.read_text() and damaged.path.name in page.read_text()
        file.write_bytes(kept)


def test_a_dry_run_says_what_would_run_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(claims, "load_claims", lambda: {4: TINY})
    assert main(["claims", "--dry-run", "--runs", str(tmp_path / "runs")]) == 0
    row = capsys.readouterr().out.splitlines()[1].split()
    assert row == ["4", "A", "tiny", "one", "3", "6", "x", "3", "0", "3", "x", "2", "180"]  # 2 arms x 3 rates; 3 tasks of 60 updates
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("number", "scale"), [(number, scale) for number, claim in claims.load_claims().items() for scale in claim.scales])
def test_every_claim_is_made_of_experiments(number: int, scale: str) -> None:
    """Cells and reported runs are valid and their parts fit, arms have keys of their own, and choosing takes a tenth."""
    claim = claims.load_claims()[number]
    size = claim.scales[scale]
    assert len({arm.key for arm in claim.arms}) == len(claim.arms)
    budgets, tenths = set(), set()
    for arm in claim.arms:
        record = {"moments": "0+10", "factors": "1+0.5", "layer_factors": "1+0.5"} if claims._needs_record(arm) else {}
        source = next(other for other in claim.arms if other.key == arm.like) if arm.like else arm
        assert placeholders(arm.words) <= {*claim.grid, *size.reported, *record}
        for values in cells(claim, size, source):
            for reported, found in ((True, budgets), (False, tenths)):
                made = experiment(fill(size, arm, values | record, reported))
                assemble(made.network, made.optimizer, made.chain, made.benchmark.inputs, made.agent.heads(made.benchmark))
                assert (made.seed, made.members) == ((0, size.members) if reported else (1, 3))
                found.add(sum(visit.budget for visit in made.benchmark.visits()))
    assert len(budgets) == len(tenths) == 1, "every arm has the same updates"
    assert next(iter(tenths)) * 10 == next(iter(budgets)) and size.members == 10


def test_grids_are_those_of_the_scale_and_of_what_an_arm_asks_for() -> None:
    claim = dataclasses.replace(TINY, grid={"rate": ("1", "2"), "decay": ("3", "4")})
    scale = dataclasses.replace(TINY.scales["small"], grid={"rate": ("5",)})
    assert list(cells(claim, scale, Arm("none", {"chain": []}))) == [{"rate": "5"}]
    decayed = Arm("decay", {"chain": ["weight-decay:strength={decay}"]})
    assert list(cells(claim, scale, decayed)) == [{"rate": "5", "decay": "3"}, {"rate": "5", "decay": "4"}]
    said = fill(scale, decayed, {"rate": "5", "decay": "4"}, reported=False)
    assert said["chain"] == ["weight-decay:strength=4"] and said["schedule"] == "constant:rate=5" and said["seed"] == 1
    assert said["benchmark"] == "random-labels:tasks=1,updates=60,images=40" and said["diagnose_every"] == 30
