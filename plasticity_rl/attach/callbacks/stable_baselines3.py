"""Methods and metrics in Stable-Baselines3's own training loops: `pip install 'plasticity-rl[stable-baselines3]'`."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy, ContinuousCritic
from stable_baselines3.common.preprocessing import get_action_dim, preprocess_obs
from stable_baselines3.dqn.policies import QNetwork
from stable_baselines3.sac.policies import Actor
from torch import Tensor, nn

from plasticity_rl.attach.chains import chain_of
from plasticity_rl.attach.session import Session
from plasticity_rl.checks import UsageError
from plasticity_rl.interventions.base import Intervention, Refresh
from plasticity_rl.metrics.catalogue import METRICS

TABLES = ("stdout", "log")
"""outputs of the logger in which lines are few and short"""
SHOWN = {name for name, metric in METRICS.items() if metric.drawn}
"""metrics that stand there, too"""


class PlasticityCallback(BaseCallback):
    """Metrics of each network into the model's logger, and methods after each step of its optimizer.

        PPO("MlpPolicy", "CartPole-v1").learn(100_000, callback=PlasticityCallback("l2-init", "redo:tau=0.1"))

    Networks are `policy` in PPO and A2C (its features, policy and value together), `q_net` in DQN, `actor` and `critic` in SAC, TD3 and
    DDPG. Every method acts on every network, each at its own optimizer's steps: `every` counts these. A penalty's gradient is added after
    the gradient was clipped. Methods that initialise anew do it as the policy's constructor does. A method that asks for it makes the
    target network a copy of the network. Methods that need a layer graph are attached where training starts, and are refused there.

    Metrics are `plasticity/dormant_fraction` and so on (docs/metrics.md), for two networks `plasticity_actor/dormant_fraction`. They are of
    the batch that was learned from. TensorBoard, CSV and JSON have them by layer and for a new network (`_fresh`), too; the printed table
    has only those that reports draw.

    The callback stays attached between two calls of `learn`; where the task changes, call `task_boundary()`, and at the end `detach()`.
    """

    def __init__(self, *chain: str | Intervention, diagnose_every: int = 1000, seed: int = 0) -> None:
        """`chain`: methods in words, or made. `diagnose_every`: updates of a network between two measurements, 0 for none."""
        super().__init__()
        self.chain, self.diagnose_every, self.seed = chain_of(chain), diagnose_every, seed
        self.sessions: dict[str, Session] = {}
        self._handles: list[Any] = []
        self._attached: Any = None

    def task_boundary(self) -> tuple[Refresh, ...]:
        """Tell the chain that the task changes. Returns the methods that refreshed."""
        return tuple(each for name, session in self.sessions.items() for each in self._refreshed(name, session.task_boundary()))

    def detach(self) -> None:
        """Remove all hooks from the model."""
        for handle in self._handles:
            handle.remove()
        for session in self.sessions.values():
            session.detach()
        self.sessions, self._handles, self._attached = {}, [], None

    def _on_training_start(self) -> None:
        if self._attached is self.model.policy:
            return
        self.detach()
        for each in self.chain:
            if isinstance(each, Refresh) and each.clears_replay and hasattr(self.model, "replay_buffer"):
                raise UsageError(
                    f"{type(each).__name__} of everything would empty the replay buffer: take part=network, or make a new model"
                )
        self._attached = self.model.policy
        for name, network in _networks(self.model.policy).items():
            self._attach(name, network)

    def _on_step(self) -> bool:
        return True

    def _attach(self, name: str, network: Any) -> None:
        """Hook the chain to one network's optimizer and to the module that sees its batches."""
        optimizer = getattr(network, "optimizer", None) or self.model.policy.optimizer

        def fresh() -> nn.Module:
            return Heads(_networks(_new_policy(self.model))[name])

        example = _example(self.model, network)
        session = self.sessions[name] = Session(Heads(network), optimizer, self.chain, self.diagnose_every, self.seed, fresh, example)
        self._handles.append(_observed(network, session.see))
        self._handles.append(optimizer.register_step_pre_hook(lambda *_: session.before_step()))

        def stepped(*_: Any) -> None:
            self._refreshed(name, session.after_step())
            group = "plasticity" if len(_networks(self.model.policy)) == 1 else f"plasticity_{name}"
            for key, value in session.metrics().items():
                self.logger.record(f"{group}/{key}", value, exclude=None if key in SHOWN else TABLES)

        self._handles.append(optimizer.register_step_post_hook(stepped))

    def _refreshed(self, name: str, came: tuple[Refresh, ...]) -> tuple[Refresh, ...]:
        """Make the network's target a copy of it, if a method asks for it."""
        target = getattr(self.model.policy, f"{name}_target", None)
        if target is not None and any(each.syncs_target for each in came):
            target.load_state_dict(getattr(self.model.policy, name).state_dict())
        return came


class Heads(nn.Module):
    """The trained part of a policy or critic, from preprocessed observations to the outputs of all heads, without random numbers."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        for name, child in network.named_children():  # under the names that they have in the network
            self.add_module(name, child)
        for name, param in network.named_parameters(recurse=False):
            self.register_parameter(name, param)
        self._network = [network]  # in a list, as it is no submodule

    def forward(self, observations: Any, actions: Any = None) -> tuple[Tensor, ...]:
        network: Any = self._network[0]
        if isinstance(network, ActorCriticPolicy):
            features = network.pi_features_extractor(observations)
            values = features if network.share_features_extractor else network.vf_features_extractor(observations)
            latent = network.mlp_extractor.forward_actor(features)
            return network.action_net(latent), network.value_net(network.mlp_extractor.forward_critic(values)), *self._spread(latent)
        features = network.features_extractor(observations)
        if isinstance(network, QNetwork):
            return (network.q_net(features),)
        if isinstance(network, ContinuousCritic):
            return tuple(each(torch.cat([features, actions], 1)) for each in network.q_networks)
        latent = network.latent_pi(features) if isinstance(network, Actor) else features
        return network.mu(latent), *self._spread(latent)

    def _spread(self, latent: Tensor) -> tuple[Tensor, ...]:
        """Logarithms of standard deviations, from a layer or parameters."""
        log_std = getattr(self, "log_std", None)
        return () if log_std is None else (log_std(latent) if isinstance(log_std, nn.Module) else log_std.exp(),)


def _networks(policy: Any) -> dict[str, Any]:
    """The networks of a policy that optimizers train. Raises UsageError for a policy of an unknown kind."""
    if isinstance(policy, ActorCriticPolicy) and type(policy).evaluate_actions is ActorCriticPolicy.evaluate_actions:
        return {"policy": policy}
    if isinstance(getattr(policy, "q_net", None), QNetwork):
        return {"q_net": policy.q_net}
    if isinstance(getattr(policy, "critic", None), ContinuousCritic):
        return {"actor": policy.actor, "critic": policy.critic}
    raise UsageError(
        f"PlasticityCallback knows the policies of PPO, A2C, DQN, SAC, TD3 and DDPG, not {type(policy).__name__}: "
        "use plasticity_rl.attach on its networks"
    )


def _new_policy(model: Any) -> BasePolicy:
    """A policy as the model's constructor makes it."""
    more = {"use_sde": model.use_sde} if isinstance(model, OnPolicyAlgorithm) else {}
    return model.policy_class(model.observation_space, model.action_space, model.lr_schedule, **more, **model.policy_kwargs).to(
        model.device
    )


def _example(model: Any, network: Any) -> tuple:
    """Arguments of `Heads`: two observations of the space, and actions for a critic."""
    space = copy.deepcopy(model.observation_space)  # whose own draws stay as they are
    space.seed(0)
    drawn = [space.sample() for _ in range(2)]
    stacked = {key: np.stack([each[key] for each in drawn]) for key in drawn[0]} if isinstance(drawn[0], dict) else np.stack(drawn)
    observations = preprocess_obs(model.policy.obs_to_tensor(stacked)[0], space, network.normalize_images)
    if isinstance(network, ContinuousCritic):
        return observations, torch.zeros(2, get_action_dim(model.action_space), device=model.device)
    return (observations,)


def _observed(network: Any, see: Callable[[tuple], None]) -> Any:
    """Hook that gives `see` the arguments of `Heads` in every pass that is learned from."""
    critic = isinstance(network, ContinuousCritic)
    watched = network if critic else getattr(network, "pi_features_extractor", network.features_extractor)

    def passed(module: nn.Module, args: tuple) -> None:
        if module is watched and module.training and torch.is_grad_enabled():  # not a copy, nor while acting
            see((preprocess_obs(args[0], network.observation_space, network.normalize_images), args[1]) if critic else args)

    return watched.register_forward_pre_hook(passed)
