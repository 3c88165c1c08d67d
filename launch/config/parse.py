"""Parser of experiments in words: `redo:tau=0.1,every=500` is a part of an experiment; each benchmark has defaults for the other parts.

A word names a class (see plasticity_rl/registry.py), the settings after the colon set its fields (several values of one field are joined by
+). A plugin's method is written `my_methods.Decay`.
"""

import dataclasses
import importlib
import shlex
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from launch.config.defaults import CONTROL, CONTROLLERS, DEFAULTS, GAMES, PARTS, PRESETS, preset
from plasticity_rl import plugins, registry
from plasticity_rl.checks import UsageError, choose, nearest
from plasticity_rl.experiment import Experiment
from plasticity_rl.files import read_toml
from plasticity_rl.processor import fast_bfloat16


def experiment(said: Mapping[str, Any], device: str = "auto") -> Experiment:
    """Build the experiment that a table of words describes, such as {"benchmark": "atari:games=Pong", "chain": ["nap"], "members": 3}.

    Omitted fields take the benchmark's default, as do omitted settings of a part named by the default's own word. A network's
    `precision=auto` becomes bfloat16 if this machine's `device` has instructions for it, else float32. The experiment holds the resolved
    value, so that another machine resumes with the same precision, or makes a separate run from the same words.
    Raises UsageError with the nearest valid word, before any heavy import if possible.
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
    """Read the words of one experiment from a TOML file."""
    return read_toml(path)


def part_class(kind: str, word: str) -> type:
    """Return the class behind a word of a kind (`method`, or a key of PARTS)."""
    if kind == "method":
        return plugins.find(kind, word) if "." in word else registry.find(kind, word)
    module, _, name = PARTS[kind][word].rpartition(".")
    return getattr(importlib.import_module(module), name)


def _known_methods(text: str) -> list[str]:
    """Return the words that `text` may begin with: the project's, or those of the plugin named in it."""
    word = text.partition(":")[0]
    return plugins.parts("method", word.rpartition(".")[0]) if "." in word and plugins.is_path(word) else list(registry.METHODS)


def _lists(kind: str) -> str:
    """Return a clause that names the command that lists words of a kind."""
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
    """Convert `text` to the type `hint`; the dataclass itself checks ranges and choices."""
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
