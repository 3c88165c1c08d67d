"""The reader of Stable-Baselines3's files, held to the package's own outputs and initialisers."""

import runpy
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from launch.check.readers import read
from launch.check.readers.stable_baselines3 import attached
from launch.check.subject import Subject
from plasticity_rl.checks import UsageError

pytestmark = pytest.mark.long  # importing the package takes seconds
pytest.importorskip("stable_baselines3", reason="an optional extra, which the dev extra brings")


def spaces(kind: str) -> Any:
    """An environment of these spaces, which is never stepped."""
    import gymnasium
    from gymnasium.spaces import Box, Discrete, MultiDiscrete

    class Still(gymnasium.Env):
        observation_space = {
            "image": Box(0, 255, (84, 84, 4), np.uint8),
            "discrete": Discrete(5),
        }.get(kind, Box(-1, 1, (3,), np.float32))
        action_space = {"continuous": Box(-2, 2, (2,), np.float32), "several": MultiDiscrete([3, 2])}.get(kind, Discrete(4))

        def reset(self, **_: Any) -> Any:
            return self.observation_space.sample(), {}

        def step(self, action: Any) -> Any:
            return self.observation_space.sample(), 0.0, False, False, {}

    return Still()


def saved(tmp_path: Path, name: str, kind: str, policy: str = "MlpPolicy", **given: Any) -> tuple[Any, dict[str, Subject]]:
    """A new agent, and what is read of its file."""
    import stable_baselines3

    if name in ("DQN", "SAC", "TD3"):
        given["buffer_size"] = 10
    model = getattr(stable_baselines3, name)(policy, spaces(kind), seed=0, device="cpu", **given)
    with torch.no_grad():
        for param in model.policy.parameters():  # biases are 0 at first, and heads almost
            param += 0.1 * torch.randn_like(param)
    model.save(tmp_path / "model.zip")
    return model, {each.name: each for each in read(tmp_path / "model.zip", None, None)}


def same(mine: Tensor, theirs: Tensor) -> None:
    assert mine.shape == theirs.shape and torch.allclose(mine, theirs, atol=1e-5)


OBSERVATIONS = np.random.default_rng(0).uniform(-1, 1, (6, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "kind", "given", "actions"),
    [
        ("PPO", "vector", {}, (4,)),
        ("A2C", "vector", {"policy_kwargs": {"net_arch": {"pi": [8], "vf": [16, 16]}, "activation_fn": nn.ReLU}}, (4,)),
        ("PPO", "several", {"policy_kwargs": {"net_arch": []}}, (3, 2)),
        ("PPO", "discrete", {"policy_kwargs": {"ortho_init": False}}, (4,)),
        ("PPO", "continuous", {}, ()),
    ],
)
def test_policies_and_values(name: str, kind: str, given: dict, actions: tuple[int, ...], tmp_path: Path) -> None:
    model, subjects = saved(tmp_path, name, kind, **given)
    observations = np.arange(5) if kind == "discrete" else OBSERVATIONS
    seen = torch.from_numpy(observations)
    policy, value = subjects["policy"], subjects["value"]
    assert policy.actions == actions and value.actions == ()
    with torch.no_grad():
        found, dist = policy.module(policy.prepare(observations)), model.policy.get_distribution(seen).distribution
        if actions:
            parts = dist if isinstance(dist, list) else [dist]
            for mine, theirs in zip(found.split(list(actions), 1), parts, strict=True):
                same(mine.log_softmax(1), theirs.logits)
        else:
            same(found, dist.mean)
        same(value.module(value.prepare(observations)), model.policy.predict_values(seen))
    assert policy.act is not None and value.act is policy.act and policy.act(observations).shape[0] == len(observations)


def test_dqn(tmp_path: Path) -> None:
    model, subjects = saved(tmp_path, "DQN", "vector")
    with torch.no_grad():
        same(subjects["q"].module(subjects["q"].prepare(OBSERVATIONS)), model.q_net(torch.from_numpy(OBSERVATIONS)))
    assert set(subjects) == {"q"} and subjects["q"].act is not None
    assert subjects["q"].act(OBSERVATIONS).tolist() == model.predict(OBSERVATIONS, deterministic=True)[0].tolist()


def test_actors_and_critics_of_sac_and_td3(tmp_path: Path) -> None:
    seen = torch.from_numpy(OBSERVATIONS)
    for name in ("SAC", "TD3"):
        model, subjects = saved(tmp_path, name, "continuous")
        assert set(subjects) == {"policy", "q0", "q1"}
        with torch.no_grad():
            policy = subjects["policy"]
            found = policy.module(policy.prepare(OBSERVATIONS))
            if name == "SAC":
                mean, log_std, _ = model.actor.get_action_dist_params(seen)
                same(found, torch.cat([mean, log_std], 1))
            else:
                same(found, model.actor(seen))
            inputs = subjects["q1"].prepare(OBSERVATIONS)
            same(subjects["q1"].module(inputs), model.critic(seen, inputs[:, 3:])[1])
        assert policy.act is not None and policy.squashed
        expected = model.predict(OBSERVATIONS, deterministic=True)[0]
        assert np.allclose(-2 + (policy.act(OBSERVATIONS) + 1) / 2 * 4, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["PPO", "DQN"])
def test_the_nature_cnn(name: str, tmp_path: Path) -> None:
    model, subjects = saved(tmp_path, name, "image", "CnnPolicy")
    images = np.random.default_rng(0).integers(0, 256, (2, 84, 84, 4), dtype=np.uint8)  # channels last, as environments have them
    seen = torch.from_numpy(np.moveaxis(images, -1, 1))
    with torch.no_grad():
        if name == "DQN":
            same(subjects["q"].module(subjects["q"].prepare(images)), model.q_net(seen))
        else:
            policy, value = subjects["policy"], subjects["value"]
            same(policy.module(policy.prepare(images)).log_softmax(1), model.policy.get_distribution(seen).distribution.logits)
            same(value.module(value.prepare(np.moveaxis(images, -1, 1))), model.policy.predict_values(seen))
    assert subjects["q" if name == "DQN" else "policy"].module.state_dict().keys() >= {"features.0.weight", "features.7.weight"}


def weights_of(make: Callable[[], nn.Module]) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(make().state_dict())


def test_twins_have_the_packages_initialiser(tmp_path: Path) -> None:
    import stable_baselines3

    model = stable_baselines3.PPO("MlpPolicy", spaces("vector"), device="cpu")
    model.save(tmp_path / "new.zip")
    theirs = model.policy.state_dict()
    subjects = {each.name: each for each in read(tmp_path / "new.zip", None, None)}
    for name, head, hidden in (("policy", "action_net", "policy_net"), ("value", "value_net", "value_net")):
        mine = weights_of(subjects[name].fresh or nn.Module)
        pairs = {"hidden.0": f"mlp_extractor.{hidden}.0", "hidden.2": f"mlp_extractor.{hidden}.2", "heads.0": head}
        for own, other in pairs.items():  # orthogonal matrices of one gain have one norm and one spectrum
            same(torch.linalg.svdvals(mine[f"{own}.weight"]), torch.linalg.svdvals(theirs[f"{other}.weight"]))
            assert mine[f"{own}.bias"].abs().max() == theirs[f"{other}.bias"].abs().max() == 0
    q = saved(tmp_path, "DQN", "vector")[1]["q"]
    mine = weights_of(q.fresh or nn.Module)
    torch.manual_seed(0)
    plain = [nn.Linear(3, 64), nn.Linear(64, 64), nn.Linear(64, 4)]  # PyTorch's own, which DQN keeps
    assert all(torch.equal(mine[name], layer.weight) for name, layer in zip(("hidden.0.weight", "hidden.2.weight"), plain, strict=False))


@pytest.mark.parametrize("method", ["redo:tau=0.1", "shrink-and-perturb:shrink=0.1", "reset:part=heads"])
def test_the_lines_of_the_advice_can_be_attached(method: str) -> None:
    import stable_baselines3

    policy = {"activation_fn": nn.ReLU, "net_arch": [8]}
    model = stable_baselines3.PPO("MlpPolicy", "CartPole-v1", n_steps=16, batch_size=16, n_epochs=1, device="cpu", policy_kwargs=policy)
    with torch.no_grad():
        model.policy.action_net.bias.fill_(50.0)
    exec("\n".join(attached(method)).replace("100_000", "16"), {"model": model})
    changed = model.policy.action_net.bias.detach()
    assert (changed.abs().max() < 40) == (method != "redo:tau=0.1")


def test_the_evidence_is_a_row_for_each_agent(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The example at a tiny size: a ruined agent is retrained as advised."""
    example = runpy.run_path(str(Path(__file__).parents[3] / "examples" / "check_and_retrain.py"))
    names = example["main"].__globals__
    monkeypatch.setitem(names, "PAIRS", (example["Pair"]("ppo", 0.5, 1),))
    monkeypatch.setitem(names["SETTINGS"], "ppo", names["SETTINGS"]["ppo"]._replace(steps=1024))
    monkeypatch.setitem(names, "NEW", 1)
    monkeypatch.setitem(names, "check", partial(names["check"], updates=100, pairs=8, twins=2, learning_rate=3e-3))
    example["main"](tmp_path)
    usual, other = capsys.readouterr().out.splitlines()[2:]
    assert "usual | policy: fits as well as fresh" in usual and "0.5, 1 shifts | policy: cannot fit" in other
    assert "(shrink-and-perturb:shrink=" in other and len([*tmp_path.iterdir()]) == 4


def test_what_is_not_understood_is_refused_in_a_line(tmp_path: Path) -> None:
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

    class Own(BaseFeaturesExtractor):
        def __init__(self, space: Any) -> None:
            super().__init__(space, 3)
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x)

    for given, told in (
        ({"features_extractor_class": Own}, "features_extractor"),
        ({"activation_fn": nn.Softplus}, "activation_fn Softplus is not known: one of Tanh, ReLU"),
    ):
        with pytest.raises(UsageError, match=told):
            saved(tmp_path, "PPO", "vector", policy_kwargs=given)
    with pytest.raises(UsageError, match=r"unknown network of .*; one of: policy, value"):
        saved(tmp_path, "PPO", "vector")
        read(tmp_path / "model.zip", None, "critic")
    subject = read(tmp_path / "model.zip", None, "policy")[0]
    with pytest.raises(UsageError, match=r"an observation is of shape \(4,\), and the network's are \(3,\)"):
        subject.prepare(np.zeros((2, 4)))
    (tmp_path / "text.zip").write_text("no archive")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("data", "{}")
    for name in ("text.zip", "other.zip"):
        with pytest.raises(UsageError, match="was not saved by Stable-Baselines3"):
            read(tmp_path / name, None, None)
