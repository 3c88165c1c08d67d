"""Methods and metrics in Stable-Baselines3's own loops: its real algorithms, for some hundred steps."""

import runpy
from pathlib import Path

import pytest
import torch

WHERE = "Stable-Baselines3 is an optional extra: pip install 'plasticity-rl[stable-baselines3]'"
stable_baselines3 = pytest.importorskip("stable_baselines3", reason=WHERE)

from stable_baselines3 import A2C, DQN, PPO, SAC, TD3  # noqa: E402
from stable_baselines3.common.logger import KVWriter, Logger  # noqa: E402

from plasticity_rl.attach.callbacks.stable_baselines3 import Heads, PlasticityCallback, _networks  # noqa: E402
from plasticity_rl.checks import UsageError  # noqa: E402
from plasticity_rl.networks.layers import own_units  # noqa: E402
from tests.test_readme import shown  # noqa: E402

ROOT = Path(__file__).parents[4]
MODELS = {
    "ppo": lambda **more: PPO("MlpPolicy", "CartPole-v1", n_steps=64, n_epochs=2, batch_size=32, seed=0, device="cpu", **more),
    "ppo, noise by state": lambda **more: PPO(
        "MlpPolicy", "Pendulum-v1", n_steps=64, n_epochs=2, seed=0, device="cpu", use_sde=True, **more
    ),
    "ppo, two extractors": lambda **more: PPO(
        "MlpPolicy", "Pendulum-v1", n_steps=64, n_epochs=2, seed=0, device="cpu", policy_kwargs={"share_features_extractor": False}, **more
    ),
    "a2c": lambda **more: A2C(
        "MlpPolicy", "CartPole-v1", seed=0, device="cpu", policy_kwargs={"optimizer_class": torch.optim.Adam}, **more
    ),
    "dqn": lambda **more: DQN("MlpPolicy", "CartPole-v1", learning_starts=50, train_freq=2, seed=0, device="cpu", **more),
    "sac": lambda **more: SAC(
        "MlpPolicy", "Pendulum-v1", learning_starts=90, seed=0, device="cpu", policy_kwargs={"net_arch": [32, 32]}, **more
    ),
    "td3": lambda **more: TD3(
        "MlpPolicy", "Pendulum-v1", learning_starts=90, seed=0, device="cpu", policy_kwargs={"net_arch": [32, 32]}, **more
    ),
}
NETWORKS = {"dqn": {"q_net"}, "sac": {"actor", "critic"}, "td3": {"actor", "critic"}}
STEPS = 128


class Written(KVWriter):
    """Rows that a logger writes."""

    def __init__(self) -> None:
        self.rows, self.excluded = [], {}

    def write(self, key_values, key_excluded, step=0):
        self.rows.append(dict(key_values))
        self.excluded |= key_excluded


def logged(model) -> Written:
    written = Written()
    model.set_logger(Logger(None, [written]))
    return written


def optimizer_of(model, name: str) -> torch.optim.Optimizer:
    return getattr(_networks(model.policy)[name], "optimizer", None) or model.policy.optimizer


@pytest.mark.parametrize("kind", MODELS)
def test_methods_follow_each_optimizer_step_and_metrics_stand_in_the_logger(kind):
    model = MODELS[kind]()
    callback, written = PlasticityCallback("l2-init", "redo:tau=0.3,every=5", diagnose_every=4), logged(model)
    model.learn(STEPS, callback=callback, log_interval=1)
    written.write(model.logger.name_to_value, model.logger.name_to_excluded)  # what is not yet written
    assert set(callback.sessions) == NETWORKS.get(kind, {"policy"})
    for name, session in callback.sessions.items():
        network, plan = _networks(model.policy)[name], session.plan
        assert plan is not None and not session.diagnosis.note
        layer = own_units(plan.layers)[0]
        weight = network.get_parameter(layer.weight)
        assert plan.ticks["update"] == session.updates == optimizer_of(model, name).state[weight]["step"] > 0
        assert {id(param) for param in plan.params.values()} == {id(param) for param in network.parameters()}
        group = "plasticity" if len(callback.sessions) == 1 else f"plasticity_{name}"
        rows = [row for row in written.rows if f"{group}/weight_norm" in row]
        assert rows and {f"{group}/dormant_fraction/{layer.name}", f"{group}/dormant_fraction_fresh"} <= rows[-1].keys()
        assert {*written.excluded[f"{group}/weight_norm/{layer.name}"]} == {"stdout", "log"}
        assert not any(written.excluded[f"{group}/weight_norm"])
        found = session.diagnosis.measure(*session.batch)
        assert found[f"weight_norm/{layer.name}"] == pytest.approx(float(weight.detach().norm()))
    callback.detach()
    assert not any(optimizer_of(model, name)._optimizer_step_post_hooks for name in _networks(model.policy))
    assert not any(module._forward_pre_hooks for module in model.policy.modules())


@pytest.mark.parametrize("kind", MODELS)
def test_heads_are_what_the_policy_computes_and_readers_are_its_layers(kind):
    model = MODELS[kind]()
    space = model.observation_space
    observations, _ = model.policy.obs_to_tensor(torch.randn(6, *space.shape).numpy())
    networks = _networks(model.policy)
    if "policy" in networks:
        mean, values, *spread = Heads(networks["policy"])(observations)
        torch.testing.assert_close(values, model.policy.predict_values(observations))
        of = model.policy.get_distribution(observations).distribution
        if "CartPole" in str(model.get_env().envs[0].unwrapped.spec):
            torch.testing.assert_close(mean - mean.logsumexp(1, keepdim=True), of.logits)
        else:
            torch.testing.assert_close(mean, of.mean)
            torch.testing.assert_close(spread[0], model.policy.log_std.exp())
        return
    if "q_net" in networks:
        torch.testing.assert_close(Heads(networks["q_net"])(observations)[0], model.q_net(observations))
        return
    actions = torch.rand(6, 1)
    for one, other in zip(Heads(networks["critic"])(observations, actions), model.critic(observations, actions), strict=True):
        torch.testing.assert_close(one, other)
    if kind == "td3":
        torch.testing.assert_close(Heads(networks["actor"])(observations)[0], model.actor(observations))
    else:
        mean, log_std, _ = model.actor.get_action_dist_params(observations)
        ours = Heads(networks["actor"])(observations)
        torch.testing.assert_close(ours[0], mean)
        torch.testing.assert_close(ours[1].clamp(-20, 2), log_std)


def test_metrics_are_of_the_batch_that_was_learned_from():
    model = MODELS["ppo"]()
    callback, batches = PlasticityCallback(diagnose_every=1), []
    evaluate = model.policy.evaluate_actions
    model.policy.evaluate_actions = lambda observations, actions: batches.append(observations) or evaluate(observations, actions)
    model.learn(64, callback=callback)
    session = callback.sessions["policy"]
    assert torch.equal(session.batch[0][0], batches[-1]) and len(batches) == session.updates == 4
    found, network = session.diagnosis.measure(*session.batch), model.policy.mlp_extractor
    for name, part in (("policy_net", network.policy_net), ("value_net", network.value_net)):
        hidden = part[0](batches[-1]).tanh().detach()
        share = hidden.abs().mean(0) / hidden.abs().mean()
        assert found[f"dormant_fraction/mlp_extractor.{name}.0"] == pytest.approx(float((share <= 0.1).float().mean()))
        top = part[2](hidden).tanh().detach()
        values = torch.linalg.svdvals(top.double())
        shares = values / values.sum()
        rank = float((-(shares * shares.log()).sum()).exp())
        assert found[f"effective_rank/mlp_extractor.{name}.2"] == pytest.approx(rank, rel=1e-5)
    norms = [float(param.detach().norm()) for name, param in model.policy.named_parameters() if param.ndim == 2]
    assert found["weight_norm"] == pytest.approx(sum(norm**2 for norm in norms) ** 0.5)


def test_diagnosis_alone_changes_nothing():
    runs = []
    for callback in (None, PlasticityCallback(diagnose_every=1)):
        model = MODELS["dqn"]()
        model.learn(STEPS, callback=callback)
        runs.append(model.policy.state_dict())
    assert all(torch.equal(runs[0][name], tensor) for name, tensor in runs[1].items())


def test_new_weights_are_the_constructors():
    """Stable-Baselines3 draws PPO's weights orthogonal, of gain sqrt(2), and of 0.01 for the action head."""
    model = MODELS["ppo"]()
    callback = PlasticityCallback("reset:part=network,clock=update,every=4")
    model.learn(64, callback=callback)  # the fourth update is the last
    policy = model.policy
    torch.testing.assert_close(policy.action_net.weight @ policy.action_net.weight.T, 1e-4 * torch.eye(2))
    hidden = policy.mlp_extractor.policy_net[2].weight
    torch.testing.assert_close(hidden @ hidden.T, 2 * torch.eye(64))
    assert not policy.mlp_extractor.policy_net[2].bias.any()


def test_a_target_network_follows_a_reset_and_a_task_boundary_is_told():
    model = MODELS["dqn"]()
    callback = PlasticityCallback("reset:part=heads")
    model.learn(STEPS, callback=callback)
    before = model.q_net.q_net[4].weight.clone()
    (method,) = callback.task_boundary()
    assert method.part == "heads" and not torch.equal(before, model.q_net.q_net[4].weight)
    for one, other in zip(model.q_net.parameters(), model.q_net_target.parameters(), strict=True):
        assert torch.equal(one, other)
    updates = callback.sessions["q_net"].updates
    model.learn(STEPS, callback=callback, reset_num_timesteps=False)  # attached once
    assert callback.sessions["q_net"].updates == updates + STEPS // 2


def test_mistakes_are_said_in_a_line():
    with pytest.raises(UsageError, match="unknown method 'reedo'; did you mean redo"):
        PlasticityCallback("reedo")
    with pytest.raises(UsageError, match="NormalizeAndProject needs a norm before every activation"):
        MODELS["ppo"]().learn(64, callback=PlasticityCallback("nap:norm=given,scale_and_offset=free"))
    with pytest.raises(UsageError, match="Reset of everything would empty the replay buffer: take part=network"):
        MODELS["dqn"]().learn(64, callback=PlasticityCallback("reset"))

    class Own(stable_baselines3.common.policies.ActorCriticPolicy):
        def evaluate_actions(self, obs, actions):
            return super().evaluate_actions(obs, actions)

    with pytest.raises(UsageError, match=r"knows the policies of PPO, A2C, DQN, SAC, TD3 and DDPG, not Own"):
        PPO(Own, "CartPole-v1", n_steps=64, device="cpu").learn(64, callback=PlasticityCallback())


def test_images_with_a_shared_extractor():
    """Nature's CNN, which policy and value share: its last layer has two readers, and so its units."""
    from gymnasium import Env, spaces

    class Frames(Env):
        observation_space, action_space = spaces.Box(0, 255, (1, 36, 36), dtype="uint8"), spaces.Discrete(3)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return self.observation_space.sample(), {}

        def step(self, action):
            return self.observation_space.sample(), 1.0, False, False, {}

    model = PPO("CnnPolicy", Frames(), n_steps=8, batch_size=8, n_epochs=1, seed=0, device="cpu")
    callback = PlasticityCallback("redo:tau=0.3,every=1", diagnose_every=1)
    model.learn(8, callback=callback)
    layers = {layer.name: layer for layer in callback.sessions["policy"].plan.layers}
    assert layers["features_extractor.linear.0"].readers == ("action_net", "value_net")
    assert layers["features_extractor.cnn.4"].readers == ("features_extractor.linear.0",)
    batch = callback.sessions["policy"].batch[0][0]
    assert batch.shape == (8, 1, 36, 36) and 0.9 < batch.max() <= 1


@pytest.mark.process
def test_nap_and_redo_in_the_examples_dqn():
    example = runpy.run_path(str(ROOT / "examples" / "attach_stable_baselines3.py"))
    model, plasticity = example["train"](600, ("nap", "redo:every=50,tau=0.3"))
    plan = plasticity.sessions["q_net"].plan
    updates = model._n_updates
    assert plan.ticks["update"] == updates == 2 * (600 - 100) // 4
    names = dict(model.q_net.named_parameters())
    assert [layer.weight for layer in plan.layers] == [name for name in names if names[name].ndim == 2] and len(plan.layers) == 3
    for layer in plan.layers[:2]:
        torch.testing.assert_close(names[layer.weight].norm(), plan.states[0][layer.weight])
        together = torch.cat([names[layer.scale], names[layer.offset]])
        torch.testing.assert_close(together.norm(), torch.tensor(layer.units**0.5))
    assert model.policy.optimizer.state[names[plan.layers[0].weight]]["step"] == updates
    assert any(name.startswith("reset_steps/") for name in plan.state_dict())  # units were recycled


def test_the_lines_in_the_documentation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, known = shown("docs/library.md")[2], {}
    assert "PlasticityCallback(" in code and "callbacks.stable_baselines3" in code
    exec(code, known)
    assert known["plasticity"].sessions["policy"].updates == 2 * 8 * 10 * 4  # rollouts of 256, ten epochs of four batches of 64
