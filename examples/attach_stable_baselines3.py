"""Stable-Baselines3's DQN with NaP and ReDo: `pip install 'plasticity-rl[stable-baselines3]'`, then
`python examples/attach_stable_baselines3.py`.

Its training loop cannot be opened, so the plan hooks itself to the optimizer.
"""

import sys

import torch
from torch import Tensor, nn

try:
    import gymnasium
    from stable_baselines3 import DQN
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
except ModuleNotFoundError as error:
    print(f"error: {error.name} is not installed: pip install 'plasticity-rl[stable-baselines3]'", file=sys.stderr)
    sys.exit(2)

from plasticity_rl.attach.plan import Plan, attach
from plasticity_rl.interventions import Intervention, NormalizeAndProject, ReDo

CHAIN = (NormalizeAndProject(), ReDo(every=500))


class Normalised(BaseFeaturesExtractor):
    """Two hidden layers with the norms that NaP needs; `net_arch=[]` makes Stable-Baselines3 add the linear head alone."""

    def __init__(self, space: gymnasium.spaces.Box, width: int = 64) -> None:
        super().__init__(space, width)
        inputs = space.shape[0]
        self.layers = nn.Sequential(
            *(nn.Linear(inputs, width), nn.LayerNorm(width), nn.ReLU()),
            *(nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU()),
        )

    def forward(self, observations: Tensor) -> Tensor:
        return self.layers(observations)


class Plasticity(BaseCallback):
    """Attach a chain to the online network where training starts; the target network follows it as ever."""

    plan: Plan

    def __init__(self, chain: tuple[Intervention, ...]) -> None:
        super().__init__()
        self.chain = chain

    def _on_training_start(self) -> None:
        example = torch.zeros(2, *self.model.observation_space.shape, device=self.model.device)
        self.plan = attach(self.model.q_net, self.model.policy.optimizer, self.chain, example)
        self.plan.hook()

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self.plan.detach()


def train(steps: int, chain: tuple[Intervention, ...] = CHAIN) -> tuple[DQN, Plasticity]:
    policy = {"features_extractor_class": Normalised, "net_arch": []}
    model = DQN("MlpPolicy", "CartPole-v1", policy_kwargs=policy, learning_starts=100, train_freq=4, gradient_steps=2, seed=0, device="cpu")
    plasticity = Plasticity(chain)
    model.learn(steps, callback=plasticity)
    return model, plasticity


if __name__ == "__main__":
    words = sys.argv[1:] or ["20000"]
    if len(words) != 1 or not (words[0].isdecimal() and int(words[0]) > 100):
        print("usage: python examples/attach_stable_baselines3.py [STEPS] - of the environment, more than 100: 20000", file=sys.stderr)
        sys.exit(2)
    model, plasticity = train(int(words[0]))
    print(f"{plasticity.plan.ticks['update']} updates under {', '.join(type(each).__name__ for each in CHAIN)}")
