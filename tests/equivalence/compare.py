"""Compare the scores of two commits, bit for bit, on this machine: `python tests/equivalence/compare.py BEFORE AFTER [CASE ...]`.

Each case is a command of `python -m launch`, carried out by both commits in checkouts of their own; every run's scores.csv must hold the
same bytes. Words are those of AFTER; `EARLIER` says how BEFORE wrote them where names have changed since. Takes about 25 minutes on two
cores and is run by hand, before and after a change that must not touch a number.

Exit code 0 if all scores are equal, 1 if some differ or a run failed, 2 for an unknown case or commit.
"""

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STREAM = "--benchmark random-labels:images=240,tasks=3,updates=200 --members 2 --agent supervised:record_every=50 --checkpoint-every 300"
POLES = "--benchmark cartpole:tasks=2,frames=8000 --members 2 --checkpoint-every 400"
GAMES = "--benchmark atari:games=Breakout,frames=12000 --members 1 --checkpoint-every 500 --network nature:precision=float32"
REFRESHED = {
    "born-again": "born-again",
    "continual-backprop": "continual-backprop:maturity=20,rate=0.01",
    "dash": "dash",
    "fire": "fire",
    "hare-and-tortoise": "hare-and-tortoise:every=100",
    "layerwise": "layerwise",
    "nap": "nap",
    "plasticity-injection": "plasticity-injection",
    "redo": "redo:every=50,tau=0.1",
    "reset": "reset",
    "reset-heads": "reset:part=heads,clock=update,every=150",
    "self-normalized-resets": "self-normalized-resets",
    "shrink-and-perturb": "shrink-and-perturb",
    "wasserstein": "wasserstein",
    "nap-redo": "nap redo:every=50,tau=0.1",
}
POPULATION = """
EXPERIMENTS = [
    {"benchmark": "random-labels:images=240,tasks=2,updates=200", "members": 2, "seed": seed, "schedule": f"constant:rate={rate}"}
    for seed in (0, 1) for rate in (1e-3, 3e-3)
]
"""
CASES: dict[str, str] = {
    "demo": "sweep {demo}",
    **{f"chain-{name}": f"run {STREAM} --chain {chain}" for name, chain in REFRESHED.items()},
    **{f"cartpole-{agent}": f"run {POLES} --agent {agent}" for agent in ("dqn", "rainbow", "pqn", "ppo", "impala")},
    "atari-rainbow": f"run {GAMES} --agent rainbow:min_replay=1000,replay=4000",
    "atari-ppo": f"run {GAMES} --agent ppo",
    "two-actors": f"run {POLES} --agent impala --actors 2",
    "population": "sweep {population}",
}
EARLIER: tuple[tuple[str, str], ...] = (
    ("num_envs=", "environments="),
    ("batch_size=", "batch="),
    ("rollout_length=", "unroll="),
    ("num_pools=", "pools="),
    ("n_step=", "steps="),
    ("gae_lambda=", "decay="),
    ("q_lambda=", "decay="),
    ("entropy_coef=", "entropy="),
    ("value_coef=", "critic="),
    ("clip_range=", "clip="),
    ("exploration_fraction=", "exploration="),
    ("num_atoms=", "atoms="),
    ("v_max=", "limit="),
    ("priority_exponent=", "priority="),
    ("importance_exponent=", "correction="),
)
"""(word of AFTER, word of BEFORE), replaced in the commands"""
DEMO = """
import runpy
EXPERIMENTS = runpy.run_path({file!r})["LABELS"]
"""


def main(arguments: list[str]) -> int:
    if len(arguments) < 2 or any(name not in CASES for name in arguments[2:]):
        print(f"usage: compare.py BEFORE AFTER [CASE ...]; cases are {', '.join(CASES)}", file=sys.stderr)
        return 2
    root = Path(__file__).resolve().parents[2]
    different = []
    with tempfile.TemporaryDirectory() as place:
        checkouts = []
        for side, commit in zip(("before", "after"), arguments[:2], strict=True):
            checkouts.append(Path(place) / side / "checkout")
            cloned = subprocess.run(["git", "clone", "--quiet", str(root), str(checkouts[-1])]).returncode
            if cloned or subprocess.run(["git", "checkout", "--quiet", commit], cwd=checkouts[-1]).returncode:
                return 2
        for name in arguments[2:] or CASES:
            began = time.monotonic()
            before, after = (carry_out(checkout, name, side) for side, checkout in enumerate(checkouts))
            same = bool(before) and before == after
            rows = sum(text.count(b"\n") for text in before.values())
            print(
                f"{name:28} {'same' if same else 'DIFFERENT':10} {len(before)} runs, {rows} lines, {time.monotonic() - began:.0f} s",
                flush=True,
            )
            different += [] if same else [name]
    return 1 if different else 0


def carry_out(checkout: Path, name: str, side: int) -> dict[str, bytes]:
    """Scores of every run of a case, by the runs' differing path; empty if the command fails."""
    folder = checkout.parent / name
    folder.mkdir()
    (folder / "demo.py").write_text(DEMO.format(file=str(checkout / "launch" / "sweeps" / "demo.py")))
    (folder / "population.py").write_text(POPULATION)
    words = shlex.split(CASES[name].format(demo=folder / "demo.py", population=folder / "population.py"))
    if side == 0:
        for new, old in EARLIER:
            words = [word.replace(new, old) for word in words]
    command = [sys.executable, "-m", "launch", *words, "--runs", str(folder / "runs"), "--name", "case"]
    ended = subprocess.run(command, cwd=checkout, env=os.environ | {"PYTHONPATH": str(checkout)}, capture_output=True, text=True)
    if ended.returncode:
        print(f"{name}: exit code {ended.returncode}: {ended.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return {}
    found = {}
    for spec in (folder / "runs" / "case").glob("*/spec.json"):
        said = json.loads(spec.read_text())
        rate = said["experiment"]["schedule"][1].get("rate")
        found[f"{said['label']}, seed {said['seed']}, rate {rate}"] = (spec.parent / "scores.csv").read_bytes()
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
