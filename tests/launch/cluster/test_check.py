"""Cluster templates, checked by Ray's own parser or against their schema; and one cluster of this machine, up to down."""

import json
import os
import re
import shlex
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from launch.cluster import check
from plasticity_rl.checks import UsageError

CHECKOUT = Path(__file__).resolve().parents[3]
FOLDER = CHECKOUT / "launch" / "cluster"
SCRIPTS = ("up.sh", "down.sh", "slurm.sh")
CLOUDS = ("ray-cluster-aws.yaml", "ray-cluster-gcp.yaml")
TEMPLATES = (*SCRIPTS, *CLOUDS, "kuberay-rayjob.yaml", "Dockerfile")

# KubeRay's reference of v1.6.2 (docs.ray.io, "KubeRay CRD API reference"), the fields in use; a dict is an object with these alone.
POD: dict[str, Any] = {
    "metadata": {"labels": None},
    "spec": {
        "securityContext": {"runAsUser": int, "fsGroup": int},
        "containers": [
            {
                "name": str,
                "image": str,
                "workingDir": str,
                "securityContext": {"allowPrivilegeEscalation": bool, "capabilities": {"drop": [str]}, "runAsNonRoot": bool},
                "env": [{"name": str, "value": str}],
                "resources": {"requests": None, "limits": None},
                "volumeMounts": [{"name": str, "mountPath": str, "readOnly": bool}],
            }
        ],
        "volumes": [{"name": str, "configMap": {"name": str}, "persistentVolumeClaim": {"claimName": str}}],
    },
}
RAYJOB: dict[str, Any] = {
    "apiVersion": str,
    "kind": str,
    "metadata": {"name": str},
    "spec": {
        "entrypoint": str,
        "shutdownAfterJobFinishes": bool,
        "ttlSecondsAfterFinished": int,
        "backoffLimit": int,
        "rayClusterSpec": {
            "rayVersion": str,
            "authOptions": {"mode": str, "secretName": str},
            "headGroupSpec": {"rayStartParams": None, "template": POD},
            "workerGroupSpecs": [
                {"groupName": str, "replicas": int, "minReplicas": int, "maxReplicas": int, "rayStartParams": None, "template": POD}
            ],
        },
    },
}


def fits(value: Any, shape: Any, where: str = "") -> None:
    if isinstance(shape, dict):
        assert isinstance(value, dict) and set(value) <= set(shape), f"{where}: {sorted(set(value) - set(shape))}"
        for name, each in value.items():
            fits(each, shape[name], f"{where}.{name}")
    elif isinstance(shape, list):
        for each in value:
            fits(each, shape[0], f"{where}[]")
    elif shape is None:  # a table of strings
        assert all(isinstance(each, str) for pair in value.items() for each in pair), where
    else:
        assert type(value) is shape, where


def cloud(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text())


class TestTemplates:
    @pytest.mark.parametrize("name", SCRIPTS)
    def test_scripts_are_bash(self, name: str) -> None:
        subprocess.run(["bash", "-n", FOLDER / name], check=True)
        assert os.access(FOLDER / name, os.X_OK) and "set -euo pipefail" in (FOLDER / name).read_text()

    @pytest.mark.parametrize("name", TEMPLATES)
    def test_nothing_is_open_or_tells_on_anybody(self, name: str) -> None:
        text = (FOLDER / name).read_text()
        assert "0.0.0.0" not in text
        if name == "kuberay-rayjob.yaml":
            assert "mode: token" in text and text.count('{name: RAY_USAGE_STATS_ENABLED, value: "0"}') == 2
        elif name != "down.sh":
            assert "RAY_AUTH_MODE=token" in text and "RAY_USAGE_STATS_ENABLED=0" in text
        for head in re.findall(
            r"ray start --head.*|begin head .*|ray symmetric-run.*(?:\n.*)?", " ".join(text.split()) if "yaml" in name else text
        ):
            assert "--dashboard-host=127.0.0.1" in head

    @pytest.mark.parametrize("name", CLOUDS)
    def test_clouds_pass_rays_own_parser(self, name: str) -> None:
        from ray.autoscaler._private.util import prepare_config, validate_config

        prepared = prepare_config(cloud(name))
        validate_config(prepared)
        assert (
            prepared["head_setup_commands"][0] == prepared["worker_setup_commands"][0] == "chmod 700 ~/.ray && chmod 600 ~/.ray/auth_token"
        )
        assert prepared["available_node_types"]["processors"]["min_workers"] == 1
        with pytest.raises(Exception, match="Additional properties"):
            validate_config(prepared | {"nonsense": 1})

    @pytest.mark.parametrize("name", CLOUDS)
    def test_clouds_carry_the_token_and_every_start_wants_it(self, name: str) -> None:
        config = cloud(name)
        assert config["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
        starts = config["head_start_ray_commands"][1], config["worker_start_ray_commands"][1]
        assert all(each.startswith("export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0; ray start --") for each in starts)
        learner = config["available_node_types"][config["head_node_type"]]["resources"]
        assert learner["GPU"] == 1 and f"--num-cpus={learner['CPU']}" in starts[0]

    @pytest.mark.parametrize("name", (*CLOUDS, "up.sh", "slurm.sh"))
    def test_every_option_is_one_of_rays(self, name: str) -> None:
        from ray.scripts.scripts import start

        known = {option for parameter in start.params for option in parameter.opts} | {"--min-nodes"}
        text = (FOLDER / name).read_text()
        if name.endswith("yaml"):
            words = [word for key in ("head", "worker") for word in shlex.split(cloud(name)[f"{key}_start_ray_commands"][1])]
        else:
            joined = text.replace("\\\n", " ")
            lines = [
                line.partition(" -- ")[0]
                for line in joined.splitlines()
                if re.search(r"ray start --n|^\s*begin |ray symmetric-run --", line)
            ]
            words = [word for line in lines for word in line[max(line.find("ray symm"), 0) :].split()]
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert len(options) >= 4 and options <= known

    def test_kuberays_job_has_fields_that_a_rayjob_has(self) -> None:
        job, policy = yaml.safe_load_all((FOLDER / "kuberay-rayjob.yaml").read_text())
        fits(job, RAYJOB)
        assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
        cluster = job["spec"]["rayClusterSpec"]
        head = cluster["headGroupSpec"]["template"]["spec"]
        assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
        assert {each["name"] for each in head["containers"][0]["volumeMounts"]} == {each["name"] for each in head["volumes"]}
        groups = (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])
        for container in (each for group in groups for each in group["template"]["spec"]["containers"]):
            limits = container["securityContext"]
            assert limits == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}
        labels = policy["spec"]["podSelector"]["matchLabels"]
        assert policy["kind"] == "NetworkPolicy" and all(each["template"]["metadata"]["labels"] == labels for each in groups)
        assert f"ray=={cluster['rayVersion']}" in (CHECKOUT / "constraints.txt").read_text().split()

    def test_the_images_instructions_and_sources(self) -> None:
        text = re.sub(r"^#.*\n", "", (FOLDER / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
        lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
        assert {word for word, _ in lines} <= {"ARG", "FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "CMD"}
        assert [word for word, _ in lines][:2] == ["ARG", "FROM"]
        sources = [source for word, rest in lines if word == "COPY" for source in rest.split()[:-1]]
        assert all((CHECKOUT / source).exists() for source in sources)
        assert {"constraints.txt", "plasticity_rl", "envs", "agents", "launch", "analysis"} <= set(sources)
        assert json.loads(next(rest for word, rest in lines if word == "CMD"))[:3] == ["python", "-m", "launch"]
        for command in (rest for word, rest in lines if word == "RUN"):
            subprocess.run(["bash", "-n", "-c", command], check=True)
            assert command.count("pip install") == command.count("-c constraints.txt")


class TestToken:
    def test_its_owners_alone_and_kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
        assert check.make_token() == 0
        path = tmp_path / ".ray" / "auth_token"
        token = path.read_text()
        assert re.fullmatch("[0-9a-f]{64}", token) and stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o644)  # as Ray makes it
        assert check.make_token() == 0
        assert path.read_text() == token and stat.S_IMODE(path.stat().st_mode) == 0o600
        path.write_text("\n")
        with pytest.raises(UsageError, match="holds no token"):
            check.make_token()


class TestCheck:
    def test_nothing_there(self) -> None:
        with pytest.raises(UsageError, match="no Ray cluster answers"):
            check.is_closed("127.0.0.1:1")

    def test_who_else_reaches_a_port(self) -> None:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen()
            assert not check.answers_others(f"127.0.0.1:{server.getsockname()[1]}")
        assert check.answers_others("192.0.2.7:6379")

    def test_an_open_cluster_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in (("_find", lambda address: address), ("is_closed", lambda _: False), ("answers_others", lambda _: True)):
            monkeypatch.setattr(check, name, value)
        with pytest.raises(UsageError, match="anyone who reaches it can run code"):
            check.examine("192.0.2.7:6379", open=False)


@pytest.mark.skipif(sys.platform != "linux", reason="Ray joins several nodes on Linux alone")
@pytest.mark.timeout(280)
@pytest.mark.ray
def test_up_check_sweep_down(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    around = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    around |= {"HOME": str(tmp_path), "PORT": str(port)}
    seen = around | {"RAY_ADDRESS": f"127.0.0.1:{port}"}

    def call(*words: str, env: dict[str, str] = seen) -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, cwd=CHECKOUT, env=env, capture_output=True, text=True, timeout=120)

    def launch(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return call(sys.executable, "-m", "launch", *words, env=seen | more)

    began = call("bash", str(FOLDER / "up.sh"), "1", "1", env=around)
    try:
        assert began.returncode == 0, began.stdout + began.stderr
        assert f"export RAY_ADDRESS=127.0.0.1:{port}" in began.stdout
        again = call("bash", str(FOLDER / "up.sh"), env=around)
        assert again.returncode == 2 and "a cluster is up at port" in again.stderr

        checked = launch("cluster", "check")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert "a token is asked for" in checked.stdout and checked.stdout.count(check.teller()()["torch"] or "") == 3
        turned_away = launch("cluster", "check", RAY_AUTH_TOKEN="0" * 64)
        assert turned_away.returncode == 2 and "rejects the token in RAY_AUTH_TOKEN" in turned_away.stderr
        turned_away = launch("cluster", "check", RAY_AUTH_TOKEN_PATH=str(tmp_path / "none"))
        assert turned_away.returncode == 2 and "requires a token" in turned_away.stderr

        sweep = tmp_path / "tiny.toml"
        sweep.write_text('[[experiments]]\nbenchmark = "random-labels:images=60,tasks=2,updates=40"\nnetwork = "mlp:width=12,depth=2"\n')
        done = launch("sweep", str(sweep), "--runs", str(tmp_path / "runs"), "--eager", "--on", "ray", "--address", "auto")
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(list((tmp_path / "runs").glob("tiny/*/DONE"))) == 1
    finally:
        processes = [int(each) for each in (tmp_path / ".ray" / f"up-{port}" / "processes").read_text().split()]
        ended = call("bash", str(FOLDER / "down.sh"), env=around)
    assert ended.returncode == 0 and f"down: port {port}" in ended.stdout
    left = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert len(processes) == 2 and not any(f":{port}".encode() in each or f"--port={port}".encode() in each for each in left)
    assert [path.name for path in (tmp_path / ".ray").iterdir()] == ["auth_token"]
    assert call("bash", str(FOLDER / "down.sh"), env=around).returncode == 2
