"""Claims from data to page: choices, reports, skipped parts; and that every claim's file holds experiments."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.claims.predicates import Gate, Part, above
from analysis.scores.tuning import selection_score
from analysis.statistics.intervals import difference
from launch.__main__ import main
from launch.claims import run as claims
from launch.claims import trial as tried
from launch.claims.definition import Arm, Claim, Scale, added, cells, fill, placeholders
from launch.config.parse import experiment
from launch.execution import Execution
from launch.run import runner
from launch.run.store import Store
from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import assemble
from plasticity_rl.networks.network import Network
from plasticity_rl.records import checkpoint
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
            size={"tasks": "3"},
            looks=(2, 4),
        )
    },
)


def decide_by(monkeypatch: pytest.MonkeyPatch, number: int, passes: bool = True) -> None:
    """A claim whose only part is open at any look, and whose gate passes or fails."""
    monkeypatch.setitem(tried.VERDICTS, number, _wavers)
    monkeypatch.setitem(tried.GATES, number, lambda results: (Gate("a gate", 1.0, passes),))


def _wavers(results) -> tuple[Part, ...]:
    signs = np.resize([[0.5], [-0.5]], (len(results["adam"].curve), 1))
    return (above("members disagree", difference, signs, 0 * signs),)


def test_a_claim_is_tried_from_the_grid_to_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """A rate of 1e-30 learns nothing and one of 1e30 diverges, so 1e-2 is chosen; a part stays open, so there is a second look."""
    monkeypatch.setattr(claims, "load_claims", lambda: {4: TINY})
    decide_by(monkeypatch, 4)
    words = ["claims", "4", "--runs", str(tmp_path), "--device", "cpu", "--eager"]
    assert main(words) == 0
    (trial,) = claims.trials((4,), "small", tmp_path)
    chosen = trial.choices()
    assert {key: choice.values for key, choice in chosen.items()} == {arm.key: {"rate": "1e-2"} for arm in TINY.arms}
    scores = chosen["adam"].scores["lifetime"]
    assert (
        scores["1e-2"] > scores["1e-30"] > 0 and scores["1e30"] == -float("inf") and set(chosen["adam"].scores) == {"lifetime", "10%", "1%"}
    )
    specs = [RunFolder(run).read_spec() for run in run_paths(tmp_path)]
    assert {(spec.seed, spec.members, len(spec.visits)) for spec in specs} == {(1, 3, 3), (0, 2, 3), (2, 2, 3)}
    assert [spec.seed for spec in specs].count(0) == [spec.seed for spec in specs].count(2) == 3
    results = trial.results(chosen, 1)
    _record_is_of_its_run(trial, chosen)
    assert list(results) == [arm.key for arm in TINY.arms] and results["adam"].area.shape == (4, 3)
    page = (tmp_path / "claims-small" / "claims.md").read_text()
    assert "| [4. A tiny one](#claim-4) | open at this scale: 0 of 1 parts hold |" in page and "1e30: diverged" in page
    for name in ("claim4.png", "claim4-rates.png"):
        assert (tmp_path / "claims-small" / "claims" / name).stat().st_size > 1000
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("scores.csv") if (path.parent / "DONE").exists()}
    assert main(words) == 0 and before == {path: path.stat().st_mtime_ns for path in before}
    assert "skipped" in capsys.readouterr().out
    assert main(["claims", "7", "--runs", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "error: unknown claim at scale small '7'; one of: 4\n"


def _record_is_of_its_run(trial: tried.Trial, chosen) -> None:
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
    # the rate over the norm, as results have it, from the same rows
    measured = trial.results(chosen)["adam"].measures["rate_over_norm"]
    norms = np.array([[row.value for row in rows if row.name == "weight_norm/hidden0" and row.member == member] for member in range(2)])
    assert measured == pytest.approx(np.stack([1e-2 / norms.reshape(2, 3, 2)[:, visit] for visit in range(3)], 1).mean(axis=2), rel=1e-6)


def test_rules_choose_from_the_same_runs_and_a_closed_gate_ends_a_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Selection scores are set: 1e-2 is best over the life, 1e-30 in the first tenth. No second look behind a gate that fails."""
    size = dataclasses.replace(TINY.scales["small"], grid={"rate": ("1e-30", "1e-3", "1e-2")})
    claim = dataclasses.replace(TINY, arms=TINY.arms[:1], common={"rate": "1e-3"}, scales={"small": size})
    monkeypatch.setattr(claims, "load_claims", lambda: {4: claim})
    decide_by(monkeypatch, 4, passes=False)
    early = {1e-30: [0.9, 0.0, 0.0], 1e-3: [0.2, 0.3, 0.3], 1e-2: [0.3, 0.4, 0.5]}

    def known(self: tried.Trial, made) -> dict[str, float]:
        curve = np.repeat([early[made.schedule.rate]], 10, axis=0).T[None]
        return {rule: float(selection_score(curve, rule).mean()) for rule in ("lifetime", "10%", "1%")}

    monkeypatch.setattr(tried.Trial, "_selection", known)
    words = ["claims", "4", "--runs", str(tmp_path), "--device", "cpu", "--eager"]
    assert main(words) == 0
    chosen = {rule: claims.trials((4,), "small", tmp_path, rule)[0].choices()["adam"].values["rate"] for rule in ("lifetime", "10%", "1%")}
    assert chosen == {"lifetime": "1e-2", "10%": "1e-30", "1%": "1e-30"}
    specs = [RunFolder(run).read_spec() for run in run_paths(tmp_path)]
    assert sorted((spec.seed, spec.experiment["schedule"][1]["rate"]) for spec in specs if spec.seed != 1) == [(0, 1e-3), (0, 1e-2)]
    page = (tmp_path / "claims-small" / "claims.md").read_text()
    assert "| not applicable at this scale: not so that a gate |" in page and "At rate 1e-3 for all arms: not applicable" in page
    selected = {spec.experiment["schedule"][1]["rate"] for spec in specs if spec.seed == 1}
    assert main([*words, "--tuned-on", "10%"]) == 0 and selected == {1e-30, 1e-3, 1e-2}
    later = [RunFolder(run).read_spec() for run in run_paths(tmp_path)]
    assert {spec.key for spec in later if spec.seed == 1} == {spec.key for spec in specs if spec.seed == 1}
    assert {spec.experiment["schedule"][1]["rate"] for spec in later if spec.seed == 0} == {1e-30, 1e-3, 1e-2}
    assert "Settings here are chosen by `10%`" in (tmp_path / "claims-small" / "claims-tuned-10.md").read_text()


def test_units_that_are_silent_on_all_images_are_counted_in_the_last_checkpoint(tmp_path: Path) -> None:
    words = {"benchmark": "random-labels:tasks=2,updates=40,images=40", "network": "mlp:width=16,depth=2", "members": 2, "seed": 0}
    made = experiment(words | {"schedule": "constant:rate=0.3", "diagnose_every": 80, "checkpoint_every": 80})
    folder, _ = runner.run(made, Store(tmp_path, "census"), Execution(device="cpu", eager=True))
    params = {name: tensor for name, tensor in checkpoint.load_latest(folder.checkpoints)[0].tensors.items() if name.startswith("params/")}
    images, expected = torch.from_numpy(made.benchmark.load()[0][:40].copy()), []
    for member in range(2):
        units, shares = images, []
        for layer in ("hidden0", "hidden1"):
            raw = units @ params[f"params/{layer}.weight"][member].T + params[f"params/{layer}.bias"][member]
            shares.append(sum(not bool((raw[:, unit] > 0).any()) for unit in range(16)) / 16)
            units = raw.clamp(min=0)
        expected.append(sum(shares) / 2)
    assert tried.census(made, folder)[:, 0] == pytest.approx(expected) and max(expected) > 0


def test_a_sweeps_runs_are_read_where_it_leaves_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    size = dataclasses.replace(TINY.scales["small"], grid={"rate": ("1e-2",)}, looks=(2,))
    claim = dataclasses.replace(TINY, arms=TINY.arms[:1], scales={"small": size}, sweep="launch/sweeps/tiny.py")
    monkeypatch.setattr(claims, "load_claims", lambda: {4: claim})
    decide_by(monkeypatch, 4)
    words = ["claims", "--runs", str(tmp_path), "--device", "cpu", "--eager"]
    page = tmp_path / "claims-small" / "claims.md"
    assert main(words) == 0 and "`python -m launch sweep launch/sweeps/tiny.py` trains it" in page.read_text() and not run_paths(tmp_path)
    (trial,) = claims.trials((4,), "small", tmp_path)
    made = experiment(trial.reported(trial.choices())["adam"])
    runner.run(made, Store(tmp_path, "tiny"), Execution(device="cpu", eager=True))
    assert main(words) == 0 and "| open at this scale: 0 of 1 parts hold | - |" in page.read_text()


def test_a_damaged_run_ends_its_claim_and_the_next_is_tried_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    size = dataclasses.replace(TINY.scales["small"], grid={"rate": ("1e-3", "1e-2")}, looks=(2,))
    size = dataclasses.replace(size, words=size.words | {"benchmark": "random-labels:tasks={tasks},updates=10,images=40"})
    known = {
        number: dataclasses.replace(TINY, arms=(Arm("adam", {"optimizer": f"adam:beta2={beta}"}),), scales={"small": size})
        for number, beta in ((3, 0.9), (4, 0.99))
    }
    monkeypatch.setattr(claims, "load_claims", lambda: known)
    for number in known:
        decide_by(monkeypatch, number)
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
    monkeypatch.setattr("launch.run.estimate.hours", lambda groups, device, compile, limit: ((1.0, 2.0), (1.0, 2.0)))
    assert main(["claims", "--dry-run", "--runs", str(tmp_path / "runs")]) == 0
    lines = capsys.readouterr().out.splitlines()
    # 2 arms x 3 rates; 3 tasks of 60 updates
    assert lines[1].split() == ["4", "A", "tiny", "one", "3", "6", "x", "3", "0", "3", "x", "2", "then", "4", "180"]
    # 6 x 3 x 180 to choose and 2 x 2 x 180 to report; arms differ in numbers of their optimizer alone, selection runs in diagnostics
    assert lines[3].startswith("8 runs in 2 groups to train, 3,960 updates of single networks") and lines[4].startswith("1.0 to 2.0 h")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("number", "scale"), [(number, scale) for number, claim in claims.load_claims().items() for scale in claim.scales])
def test_every_claim_is_made_of_experiments(number: int, scale: str) -> None:
    """Cells and reported runs are valid and their parts fit, arms have keys of their own, and all but fresh controls the same updates."""
    claim = claims.load_claims()[number]
    size = claim.scales[scale]
    assert len({arm.key for arm in claim.arms}) == len(claim.arms) and number in tried.VERDICTS and number in tried.GATES
    assert set(claim.common) <= set(claim.grid)
    budgets = set()
    for arm in claim.arms:
        record = {"moments": "0+10", "factors": "1+0.5", "layer_factors": "1+0.5"} if tried.needs_record(arm) else {}
        source = next(other for other in claim.arms if other.key == arm.like) if arm.like else arm
        assert placeholders({**size.words, **arm.words}) <= {*claim.grid, *size.size, *record}
        for values in cells(claim, size, source):
            made = experiment(fill(size, arm, values | record, 7, 0))
            assemble(made.network, made.optimizer, made.chain, made.benchmark.inputs, made.agent.heads(made.benchmark))
            assert (made.seed, made.members) == (0, 7)
            if arm.name != "fresh control":
                budgets.add(sum(visit.budget for visit in made.benchmark.visits()))
    assert len(budgets) == 1, "every arm has the same updates"


def test_data_that_is_missing_leaves_the_hours_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def lacking(*_: object) -> None:
        raise UsageError("mnist is not on this machine")

    monkeypatch.setattr(claims, "load_claims", lambda: {4: TINY})
    monkeypatch.setattr("launch.run.estimate.hours", lacking)
    assert main(["claims", "--dry-run", "--runs", str(tmp_path / "runs")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "hours unknown: mnist is not on this machine"


def test_looks_add_members_of_other_seeds() -> None:
    assert added((7, 13)) == [(7, 0), (6, 2)] and added((6,)) == [(6, 0)]


def test_grids_are_those_of_the_scale_and_of_what_an_arm_asks_for() -> None:
    claim = dataclasses.replace(TINY, grid={"rate": ("1", "2"), "decay": ("3", "4")})
    scale = dataclasses.replace(TINY.scales["small"], grid={"rate": ("5",)})
    assert list(cells(claim, scale, Arm("none", {"chain": []}))) == [{"rate": "5"}]
    decayed = Arm("decay", {"chain": ["weight-decay:strength={decay}"]})
    assert list(cells(claim, scale, decayed)) == [{"rate": "5", "decay": "3"}, {"rate": "5", "decay": "4"}]
    said = fill(scale, decayed, {"rate": "5", "decay": "4"}, 3, 1)
    assert said["chain"] == ["weight-decay:strength=4"] and said["schedule"] == "constant:rate=5" and said["seed"] == 1
    assert said["benchmark"] == "random-labels:tasks=3,updates=60,images=40" and said["diagnose_every"] == 1_000_000
    assert fill(scale, decayed, {"rate": "5", "decay": "4"}, 7, 0)["diagnose_every"] == 30
