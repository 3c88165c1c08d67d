"""Stable-Baselines3's .zip: policies and values of PPO and A2C, Q of DQN, actors and critics of SAC, TD3 and DDPG.

Nothing is unpickled, and Stable-Baselines3 is not needed: weights are read by torch.load(weights_only=True), the architecture from their
names and shapes, and from the text that stands beside the pickles in the file's JSON. That is enough for MLPs and the Nature CNN. Twins
have Stable-Baselines3's initialiser; tests hold it, and the outputs, to the package's own. Anything else is refused.
"""

import json
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from launch.check.readers.weights import load_tensors
from launch.check.subject import Subject, as_tensor, expect, sampled
from plasticity_rl.checks import UsageError
from plasticity_rl.checkup.verdict import ONCE

ACTIVATIONS = {each.__name__: each for each in (nn.Tanh, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU)}
NATURE = {(32, 8): 4, (64, 4): 2, (64, 3): 1}
"""(channels, kernel) of the Nature CNN's convolutions -> stride"""
IGNORED = ("log_std", "q_net_target.", "actor_target.", "critic_target.")
BY_HAND = "save policy.state_dict() of the network alone as .pt, and give --module MODULE.FUNCTION that makes it"


@dataclass(frozen=True)
class Part:
    """Where the weights of one network stand."""

    name: str
    extractors: tuple[str, ...]
    """prefixes of the features' extractor, the first that there is"""
    hidden: str
    heads: tuple[str, ...]
    """prefixes of linear heads; if empty, the last layer of `hidden` is one"""
    gains: tuple[float, ...] = ()
    """gains of orthogonal heads; without them, layers have PyTorch's initialiser"""
    reads_actions: bool = False


ACTOR_CRITIC = (
    Part("policy", ("pi_features_extractor.", "features_extractor."), "mlp_extractor.policy_net.", ("action_net.",), (0.01,)),
    Part("value", ("vf_features_extractor.", "features_extractor."), "mlp_extractor.value_net.", ("value_net.",), (1.0,)),
)
DQN = (Part("q", ("q_net.features_extractor.",), "q_net.q_net.", ()),)
CRITICS = tuple(Part(f"q{i}", ("critic.features_extractor.",), f"critic.qf{i}.", (), reads_actions=True) for i in range(10))
SAC = (Part("policy", ("actor.features_extractor.",), "actor.latent_pi.", ("actor.mu.", "actor.log_std.")), *CRITICS)
TD3 = (Part("policy", ("actor.features_extractor.",), "actor.mu.", ()), *CRITICS)
KINDS = {"action_net.": (ACTOR_CRITIC, nn.Tanh), "q_net.": (DQN, nn.ReLU), "actor.latent_pi.": (SAC, nn.ReLU), "actor.mu.": (TD3, nn.ReLU)}
"""prefix of some weights -> the networks, and the default activation"""


class Assembled(nn.Module):
    """Features, hidden layers and heads."""

    def __init__(self, features: nn.Module, hidden: nn.Module, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.features, self.hidden, self.heads = features, hidden, nn.ModuleList(heads)

    def forward(self, x: Tensor) -> Tensor:
        x = self.hidden(self.features(x))
        return torch.cat([head(x) for head in self.heads], -1) if len(self.heads) > 1 else self.heads[0](x)


def read(path: Path, module: str | None, name: str | None = None) -> list[Subject]:
    """The networks of a .zip. Raises UsageError for a file of another program, and for networks that are not understood."""
    if module is not None:
        raise UsageError(f"--module is of files of weights alone, not of {path.name}: {BY_HAND}")
    about, weights = _opened(path)
    kind = next((each for each in KINDS if any(name.startswith(each) for name in weights)), None)
    if kind is None:
        raise UsageError(f"{path}: networks with weights such as {next(iter(weights), 'none')} are not known; {BY_HAND}")
    parts, usual = KINDS[kind]
    settings = about.get("policy_kwargs") or {}
    activation = _activation(settings, usual)
    observe = _observer(about, settings)
    actions, bounded = _actions(about)
    used: set[str] = set()
    act: Callable[[np.ndarray], np.ndarray] | None = None
    subjects: list[Subject] = []
    for part in parts:
        if not any(name.startswith(part.hidden) or name.startswith(part.heads) for name in weights):
            continue
        gains = part.gains if settings.get("ortho_init", True) is not False else ()
        make, mine = _maker(weights, part, activation, gains)
        made = make()
        made.load_state_dict({name: weights[source] for name, source in mine.items()})
        used |= set(mine.values())
        if part.name in ("policy", "q"):  # the first; it plays for the file's other networks, too
            act = _acting(made, observe, kind, actions, bounded)
        subjects.append(
            Subject(
                part.name,
                made,
                make,
                partial(_with_actions, observe, bounded) if part.reads_actions else observe,
                actions if part.name == "policy" else (),
                act,
                kind in ("actor.latent_pi.", "actor.mu."),
                attached,
                notes=("actions of critics are drawn uniformly from the whole range",) if part.reads_actions else (),
            )
        )
    if left := [each for each in weights if each not in used and not each.startswith(IGNORED) and "features_extractor." not in each]:
        raise UsageError(f"{path}: {left[0]} is in no layer that is known; {BY_HAND}")
    return subjects


def attached(method: str) -> tuple[str, ...]:
    """The lines that attach a method, in words, to a `model` of the package."""
    made = f'callback = PlasticityCallback("{method}")'
    home = "from plasticity_rl.attach.callbacks.stable_baselines3 import PlasticityCallback"
    if method.partition(":")[0] not in ONCE:
        return home, made, "model.learn(100_000, callback=callback)"
    return home, made, "model.learn(1, callback=callback); callback.task_boundary(); callback.detach()  # once; then learn as ever"


def _opened(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The file's JSON and its policy's weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            about = json.loads(archive.read("data"))
            with archive.open("policy.pth") as file:
                weights = load_tensors(file, path)
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise UsageError(f"{path} was not saved by Stable-Baselines3: {' '.join(str(error).split())}") from error
    return about, weights


def _activation(settings: dict[str, Any], usual: type[nn.Module]) -> type[nn.Module]:
    """The activation that the text beside the pickle names."""
    extractor = re.search(r"'([\w.]+)'", str(settings.get("features_extractor_class", "")))
    if extractor and extractor[1].rpartition(".")[2] not in ("FlattenExtractor", "NatureCNN"):
        raise UsageError(f"features_extractor_class {extractor[1]} is not known; {BY_HAND}")
    if "activation_fn" not in settings:
        return usual
    given = re.search(r"(\w+)'?>?$", str(settings["activation_fn"]))
    name = given[1] if given else str(settings["activation_fn"])
    if name not in ACTIVATIONS:
        raise UsageError(f"activation_fn {name} is not known: one of {', '.join(ACTIVATIONS)}; {BY_HAND}")
    return ACTIVATIONS[name]


def _observer(about: dict[str, Any], settings: dict[str, Any]) -> Callable[[np.ndarray], Tensor]:
    """The policy's preprocessing of observations: images over 255, one of n as n numbers."""
    space = about.get("observation_space") or {}
    kind = str(space.get(":type:", "")).rpartition(".")[2].rstrip("'>")
    if kind == "Discrete":
        return partial(_one_hot, int(space["n"]))
    if kind != "Box":
        raise UsageError(f"observations of the space {kind or 'unknown'} are not known: Box or Discrete; {BY_HAND}")
    shape = tuple(int(each) for each in space["_shape"])
    image = "uint8" in str(space.get("dtype")) and len(shape) == 3
    return partial(_box, shape, image and settings.get("normalize_images", True) is not False)


def _one_hot(number: int, observations: np.ndarray) -> Tensor:
    expect(observations, ())
    return torch.nn.functional.one_hot(torch.from_numpy(observations.astype(np.int64)), number).float()


def _box(shape: tuple[int, ...], image: bool, observations: np.ndarray) -> Tensor:
    if len(shape) == 3 and observations.shape[1:] == (*shape[1:], shape[0]):  # channels last, as environments give them
        observations = np.moveaxis(observations, -1, 1)
    expect(observations, shape)
    found = as_tensor(observations).float() / (255 if image else 1)
    return found if len(shape) == 3 else found.flatten(1)


def _actions(about: dict[str, Any]) -> tuple[tuple[int, ...], int]:
    """Numbers of discrete actions, or no such and the number of continuous ones."""
    space = about.get("action_space") or {}
    kind = str(space.get(":type:", "")).rpartition(".")[2].rstrip("'>")
    if kind == "Discrete":
        return (int(space["n"]),), 0
    if kind == "MultiDiscrete":
        return tuple(int(each) for each in re.findall(r"\d+", str(space["nvec"]))), 0
    if kind == "Box":
        return (), prod(int(each) for each in space["_shape"])
    raise UsageError(f"actions of the space {kind or 'unknown'} are not known: Discrete, MultiDiscrete or Box; {BY_HAND}")


def _with_actions(observe: Callable[[np.ndarray], Tensor], actions: int, observations: np.ndarray) -> Tensor:
    """Observations and actions side by side, the latter uniform in [-1, 1] from a fixed seed."""
    found = observe(observations)
    return torch.cat([found, torch.rand(len(found), actions, generator=torch.Generator().manual_seed(0)) * 2 - 1], 1)


def _acting(
    module: nn.Module, observe: Callable[[np.ndarray], Tensor], kind: str, actions: tuple[int, ...], continuous: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Actions of a policy: drawn from logits, the largest Q, or the mean of continuous ones."""

    @torch.no_grad()
    def act(observations: np.ndarray) -> np.ndarray:
        outputs = module(observe(observations))
        if kind == "action_net." and actions:
            return sampled(outputs, actions)
        if kind == "q_net.":
            return outputs.argmax(1).numpy()
        return (outputs[:, :continuous].tanh() if kind == "actor.latent_pi." else outputs).numpy()

    return act


def _maker(
    weights: dict[str, Tensor], part: Part, activation: type[nn.Module], gains: tuple[float, ...]
) -> tuple[Callable[[], Assembled], dict[str, str]]:
    """A function that makes a new network of these shapes, and the file's name of each of its parameters."""
    extractor = next((each for each in part.extractors if any(name.startswith(each) for name in weights)), None)
    names: dict[str, str] = {}
    convolutions: list[tuple[str, Tensor]] = []
    features: list[tuple[str, Tensor]] = []
    if extractor is not None:
        convolutions = _indexed(weights, f"{extractor}cnn.")
        features = _indexed(weights, f"{extractor}linear.")
        if not convolutions or len(features) != 1:
            raise UsageError(f"{extractor.rstrip('.')} is not the Nature CNN, the only one that is known; {BY_HAND}")
    hidden = _indexed(weights, part.hidden)
    heads = [(prefix, weights[f"{prefix}weight"]) for prefix in part.heads if f"{prefix}weight" in weights]
    if not part.heads:
        heads, hidden = hidden[-1:], hidden[:-1]
    squashes = part.hidden == "actor.mu."

    def make() -> Assembled:
        stages: list[nn.Module] = []
        for _, weight in convolutions:
            channels, kernel = len(weight), weight.shape[2]
            if (channels, kernel) not in NATURE:
                raise UsageError(f"a convolution of {channels} channels and kernel {kernel} is not the Nature CNN's; {BY_HAND}")
            stages += [nn.Conv2d(weight.shape[1], channels, kernel, NATURE[channels, kernel]), nn.ReLU()]
        if features:
            stages += [nn.Flatten(), nn.Linear(features[0][1].shape[1], len(features[0][1])), nn.ReLU()]
        layers = [each for _, weight in hidden for each in (nn.Linear(weight.shape[1], len(weight)), activation())]
        ends = [nn.Linear(weight.shape[1], len(weight)) for _, weight in heads]
        made = Assembled(
            nn.Sequential(*stages), nn.Sequential(*layers), [nn.Sequential(end, nn.Tanh()) if squashes else end for end in ends]
        )
        if gains:
            _orthogonal(made.features, sqrt(2))
            _orthogonal(made.hidden, sqrt(2))
            for head, gain in zip(made.heads, gains, strict=True):
                _orthogonal(head, gain)
        return made

    sources = [prefix for prefix, _ in (*convolutions, *features, *hidden, *heads)]
    layers = [name for name, each in make().named_modules() if isinstance(each, nn.Linear | nn.Conv2d)]
    for layer, source in zip(layers, sources, strict=True):
        names |= {f"{layer}.weight": f"{source}weight", f"{layer}.bias": f"{source}bias"}
    for name, source in names.items():
        if source not in weights:
            raise UsageError(f"{source} is missing: layers without {name.rpartition('.')[2]} are not known; {BY_HAND}")
    return make, names


def _orthogonal(module: nn.Module, gain: float) -> None:
    """Stable-Baselines3's initialiser of policies that learn on-policy."""
    for each in module.modules():
        if isinstance(each, nn.Linear | nn.Conv2d):
            nn.init.orthogonal_(each.weight, gain)
            nn.init.zeros_(each.bias if each.bias is not None else torch.empty(0))


def _indexed(weights: dict[str, Tensor], prefix: str) -> list[tuple[str, Tensor]]:
    """Prefix and weight of each layer `prefix`0., `prefix`2., ... in order. Raises UsageError for norms."""
    found = []
    for name, weight in weights.items():
        if match := re.fullmatch(re.escape(prefix) + r"(\d+)\.weight", name):
            if weight.ndim not in (2, 4):
                raise UsageError(f"{name} is of a layer that is not known; {BY_HAND}")
            found.append((int(match[1]), weight))
    return [(f"{prefix}{index}.", weight) for index, weight in sorted(found, key=lambda pair: pair[0])]
