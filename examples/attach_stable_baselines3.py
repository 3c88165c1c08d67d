"""Stable-Baselines3's DQN with NaP and ReDo: `pip install 'plasticity-rl[stable-baselines3]'`, then
`python examples/attach_stable_baselines3.py`.

The callback hooks the methods to the optimizer and writes metrics into the model's logger.
"""

import sys

from torch import Tensor, nn

try:
    import gymnasium
    from stable_baselines3 import DQN
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

    from plasticity_rl.attach.callbacks.stable_baselines3 import PlasticityCallback
except ModuleNotFoundError as error:
    print(f"error: {error.name} is not installed: pip install 'plasticity-rl[stable-baselines3]'", file=sys.stderr)
    sys.exit(2)

CHAIN = ("nap", "redo:every=500")


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


def train(steps: int, chain: tuple[str, ...] = CHAIN) -> tuple[DQN, PlasticityCallback]:
    policy = {"features_extractor_class": Normalised, "net_arch": []}
    model = DQN("MlpPolicy", "CartPole-v1", policy_kwargs=policy, learning_starts=100, train_freq=4, gradient_steps=2, seed=0, device="cpu")
    plasticity = PlasticityCallback(*chain)
    model.learn(steps, callback=plasticity)
    return model, plasticity


if __name__ == "__main__":
    words = sys.argv[1:] or ["20000"]
    if len(words) != 1 or not (words[0].isdecimal() and int(words[0]) > 100):
        print("usage: python examples/attach_stable_baselines3.py [STEPS] - of the environment, more than 100: 20000", file=sys.stderr)
        sys.exit(2)
    model, plasticity = train(int(words[0]))
    print(f"{plasticity.sessions['q_net'].updates} updates under {' and '.join(CHAIN)}")
