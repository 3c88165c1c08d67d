"""Experiments in words: `redo:tau=0.1,every=500` is a part of an experiment, and each benchmark brings defaults for the others.

A word names a class (see plasticity_rl/registry.py), the settings behind the colon set its fields (several values of one field are joined
by +). A plugin's method is written `my_methods.Decay`.
"""

import dataclasses
import importlib
import shlex
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from envs.reinforcement import atari
from launch.config.papers import PRESETS as PAPERS
from plasticity_rl import plugins, registry
from plasticity_rl.checks import UsageError, choose, nearest
from plasticity_rl.experiment import Experiment
from plasticity_rl.files import read_toml
from plasticity_rl.processor import fast_bfloat16

# Sequences that others used, as settings of `atari`, with their budgets where they are known; ale-10 is ours.
PRESETS: dict[str, dict[str, str]] = {
    "abbas-5": {"games": "+".join(atari.ABBAS_5), "frames": "20_000_000"},
    "cora-6": {"games": "+".join(atari.CORA_6), "frames": "50_000_000", "cycles": "2"},
    "carmack-8": {"games": "+".join(atari.CARMACK_8), "frames": "400_000", "cycles": "3"},
    "ale-10": {"games": "+".join(atari.ALE_10), "frames": "20_000_000", "cycles": "2"},
    "atari-26": {"games": "+".join(atari.ATARI_26)},
    "atari-57": {"games": "+".join(atari.ATARI_57)},
}

# Every word that a person may type for a part of an experiment, with the path of its class: the names on disk, and presets of them.
PARTS = {kind: dict(registry.words(kind)) for kind in ("benchmark", "agent", "network", "optimizer", "schedule")}
PARTS["benchmark"] |= dict.fromkeys(PRESETS, PARTS["benchmark"]["atari"])
PARTS["benchmark"] |= {word: PARTS["benchmark"][paper.of] for word, paper in PAPERS.items()}
PARTS["agent"] |= dict.fromkeys(("c51", "rainbow", "rainbow-sequential"), PARTS["agent"]["dqn"])

# Rewards are scaled: clipped ones, of which hundreds are summed, make values that a DQN on CartPole does not hold.
CONTROL: dict[str, Any] = dict(
    agent="dqn:environments=8,batch=32,replay=50000,min_replay=1000,target_every=250,exploration=0.2,final_epsilon=0.05,double=true,"
    "rewards=scale",
    network="mlp:depth=2,width=128",
    optimizer="adam",
    schedule="constant:rate=5e-4",
    diagnose_every=1000,
    checkpoint_every=50_000,
)
# DQN Zoo's Rainbow; `rainbow-sequential` differs in its schedule alone.
RAINBOW = {"steps": "3", "double": "true", "dueling": "true", "value": "c51", "priority": "0.5", "noise": "0.1"}
RAINBOW |= {"exploration": "0", "final_epsilon": "0"}
# What multiplies images takes the arithmetic that this machine is fast at: see `experiment`.
TORSOS: dict[str, dict[str, str]] = {word: {"precision": "auto"} for word in ("nature", "impala-cnn", "resnet18")}
AGENT_PRESETS: dict[str, dict[str, str]] = {
    "c51": {"value": "c51", "final_epsilon": "0.01"},
    "rainbow": RAINBOW,
    "rainbow-sequential": RAINBOW,
}
# What goes with an agent where nothing else is said. Schedules start again at every visit, so that no game is met with a spent rate.
GAMES: dict[str, dict[str, str]] = {
    "c51": dict(optimizer="adam:epsilon=3.125e-4", schedule="constant:rate=2.5e-4"),  # Bellemare et al. 2017
    "rainbow": dict(optimizer="adam:epsilon=1.5625e-4,clip_norm=10", schedule="constant:rate=6.25e-5"),  # DQN Zoo
    "rainbow-sequential": dict(optimizer="adam:epsilon=1.5625e-4,clip_norm=10", schedule="warmup-cosine"),  # Lyle et al. 2024
    "pqn": dict(network="nature:norm=layer", optimizer="radam:clip_norm=10", schedule="linear:rate=2.5e-4,clock=visit"),  # CleanRL
    "ppo": dict(optimizer="adam:epsilon=1e-5,clip_norm=0.5", schedule="linear:rate=2.5e-4,clock=visit"),  # Huang et al. 2022
    # Espeholt et al. 2018; their torso is the residual one, ours stays the benchmark's.
    "impala": dict(optimizer="rmsprop:epsilon=0.01,corrected=false,clip_norm=40", schedule="linear:rate=6e-4,clock=visit"),
}
# The same on control problems, our choice.
CONTROLLERS: dict[str, dict[str, str]] = {
    **{word: dict(agent=word + CONTROL["agent"].removeprefix("dqn")) for word in AGENT_PRESETS},
    "pqn": dict(
        agent="pqn:environments=8,unroll=32,exploration=0.3,rewards=scale",
        network="mlp:depth=2,width=128,norm=layer",
        optimizer="radam:clip_norm=10",
        schedule="linear:rate=1e-3,clock=visit",
    ),
    "ppo": dict(
        agent="ppo:unroll=64,clip=0.2,rewards=scale",
        optimizer="adam:epsilon=1e-5,clip_norm=0.5",
        schedule="linear:rate=2e-3,clock=visit",
    ),
    "impala": dict(
        agent="impala:environments=8,unroll=5,minibatches=2,entropy=0.05,rewards=scale",
        optimizer="adam:clip_norm=40",
        schedule="linear:rate=2e-3,clock=visit",
    ),
}
CLASSES: dict[str, Any] = dict(
    agent="supervised", network="mlp", optimizer="adam", schedule="constant:rate=1e-3", diagnose_every=2000, checkpoint_every=5_000
)
NUMBERS: dict[str, Any] = CLASSES | dict(agent="supervised:objective=mse")
STREAMS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("random-labels", "permuted-labels", "noisy-labels", "permuted-inputs", "drifting-inputs"), CLASSES),
    **dict.fromkeys(("growing-data", "class-incremental", "recurring"), CLASSES),
    **dict.fromkeys(("large-mean", "teachers", "composite"), NUMBERS),
    # The learner and its single examples are Dohare et al.'s; the rate is our choice.
    "slow-bits": NUMBERS
    | dict(
        agent="supervised:objective=mse,batch=1,record_every=1000",
        network="mlp:depth=1,width=5",
        optimizer="sgd",
        schedule="constant:rate=0.01",
        diagnose_every=5_000,
        checkpoint_every=50_000,
    ),
}
# What an experiment on each benchmark is where nothing else is said.
DEFAULTS: dict[str, dict[str, Any]] = {
    **STREAMS,
    # Rewards, 0 or 1, stay as they are: how large the values grow is what is studied.
    "bandit": CONTROL | dict(agent=CONTROL["agent"].replace("rewards=scale", "rewards=clip").replace("50000", "20000")),
    "cartpole": CONTROL,
    "acrobot": CONTROL,
    "lunarlander": CONTROL,
    "catch": CONTROL,
    # As in `atari`, but half the replay, which takes 6 GB a member: a frame has 12 kB.
    "procgen": dict(
        agent="dqn:replay=500000",
        network="nature",
        optimizer="adam:epsilon=1.5e-4",
        schedule="constant:rate=6.25e-5",
        diagnose_every=1000,
        checkpoint_every=250_000,
    ),
    # Rate and epsilon are DQN Zoo's Rainbow's; a leg of 250,000 steps (1M frames) leaves room for long episodes.
    "atari": dict(
        agent="dqn",
        network="nature",
        optimizer="adam:epsilon=1.5e-4",
        schedule="constant:rate=6.25e-5",
        diagnose_every=1000,
        checkpoint_every=250_000,
    ),
}

DEFAULTS |= {word: DEFAULTS[paper.of] | paper.defaults for word, paper in PAPERS.items()}


def experiment(said: Mapping[str, Any], device: str = "auto") -> Experiment:
    """The experiment that a table of words describes, such as {"benchmark": "atari:games=Pong", "chain": ["nap"], "members": 3}.

    Fields left out take the benchmark's default, and so do the settings of a part that is named with the default's own word. A network's
    `precision=auto` becomes bfloat16 where this machine's `device` multiplies it by instructions of its own, else float32: the experiment
    holds what was found, so that another machine goes on with the same numbers, or, from the same words, makes a run of its own.
    Raises UsageError, naming the nearest valid word, before anything heavy is imported where that can be told.
    """
    known = [field.name for field in dataclasses.fields(Experiment)]
    for name in said:
        if name not in known:
            raise UsageError(
                f"unknown field {name!r} of an experiment; {nearest(str(name), known, '`python -m launch run --help` lists them')}"
            )
    if not isinstance(said.get("chain", []), list | tuple):
        raise UsageError(f"chain must be a list of methods, not {said['chain']!r}")
    chain = [_split("method", text, _known_methods(str(text))) for text in said.get("chain", [])]
    word, settings = _split("benchmark", said.get("benchmark", "random-labels"), PARTS["benchmark"])
    defaults = DEFAULTS["atari" if word in PRESETS else word]
    made: dict[str, Any] = {"benchmark": _build("benchmark", word, preset("benchmark", word) | settings)}
    agent, _ = _split("agent", said.get("agent", defaults["agent"]), PARTS["agent"])
    defaults = defaults | (CONTROLLERS if defaults["network"] == CONTROL["network"] else GAMES).get(agent, {})
    for kind in ("agent", "network", "optimizer", "schedule"):
        default_word, default_settings = _split(kind, defaults[kind], PARTS[kind])
        word, settings = _split(kind, said.get(kind, default_word), PARTS[kind])
        settings = preset(kind, word) | settings
        settings = default_settings | settings if word == default_word else settings
        if kind == "network" and settings.get("precision") == "auto":
            settings["precision"] = "bfloat16" if fast_bfloat16(device)[0] else "float32"
        made[kind] = _build(kind, word, settings)
    made["chain"] = tuple(_build("method", word, settings) for word, settings in chain)
    counts = ("diagnose_every", "curvature_every", "probe_every", "probe_updates", "checkpoint_every")
    for name in ("members", "seed", *counts, "evaluate", "actors"):
        if (value := said.get(name, defaults.get(name))) is not None:
            made[name] = _value(name, value, int) if isinstance(value, str) else value
    if "free_running" in said:
        made["free_running"] = said["free_running"]
    return Experiment(**made)


def read_experiment(path: Path) -> dict[str, Any]:
    """The words of one experiment in a TOML file."""
    return read_toml(path)


def preset(kind: str, word: str) -> dict[str, str]:
    """The settings that a word brings with it; none where it is a class's own."""
    if kind == "benchmark":
        return PAPERS[word].settings if word in PAPERS else PRESETS.get(word, {})
    return {"agent": AGENT_PRESETS, "network": TORSOS}.get(kind, {}).get(word, {})


def part_class(kind: str, word: str) -> type:
    """The class behind a word of that kind (`method`, or a key of PARTS)."""
    if kind == "method":
        return plugins.find(kind, word) if "." in word else registry.find(kind, word)
    module, _, name = PARTS[kind][word].rpartition(".")
    return getattr(importlib.import_module(module), name)


def _known_methods(text: str) -> list[str]:
    """The words that `text` may begin with: ours, or those of the plugin that it names."""
    word = text.partition(":")[0]
    return plugins.parts("method", word.rpartition(".")[0]) if "." in word and plugins.is_path(word) else list(registry.METHODS)


def _lists(kind: str) -> str:
    """Where the words of a kind are listed, a clause."""
    return f"`{shlex.join(['python', '-m', 'launch', 'interventions' if kind == 'method' else 'show'])}` lists them"


def _split(what: str, text: Any, choices: Iterable[str]) -> tuple[str, dict[str, str]]:
    if not isinstance(text, str):
        raise UsageError(f"{what} must be written as words, not {text!r}")
    word, _, rest = text.partition(":")
    settings: dict[str, str] = {}
    for setting in filter(None, rest.split(",")):
        name, equals, value = setting.partition("=")
        if not equals or not value:
            raise UsageError(f"{setting!r} in {text!r} is not of the form field=value")
        if name in settings:
            raise UsageError(f"{name} is set twice in {text!r}")
        settings[name] = value
    return choose(what, word, choices, _lists(what)), settings


def _build(kind: str, word: str, settings: dict[str, str]) -> Any:
    made = part_class(kind, word)
    hints = typing.get_type_hints(made)
    fields = [field.name for field in dataclasses.fields(made)]
    for name in settings:
        if name not in fields:
            listed = f"`{shlex.join(['python', '-m', 'launch', 'show', word])}` lists them"
            raise UsageError(f"{word} has no field {name!r}; {nearest(name, fields, listed)}")
    return made(**{name: _value(f"{word}: {name}", text, hints[name]) for name, text in settings.items()})


def _value(where: str, text: str, hint: Any) -> Any:
    """The value of type `hint` that `text` spells; the dataclass itself checks ranges and choices."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return None if text == "none" else _value(where, text, next(each for each in arguments if each is not type(None)))
    if origin is tuple:
        return tuple(_value(where, each, arguments[0]) for each in text.split("+"))
    if hint is bool:
        return choose(where, text, ("true", "false")) == "true"
    try:
        if hint is int:
            return int(text.replace("_", ""))
        return float(text) if hint is float else text
    except ValueError:
        raise UsageError(f"{where} must be a {'whole ' if hint is int else ''}number, not {text!r}") from None
