"""Parser of experiments in words: `redo:tau=0.1,every=500` is a part of an experiment; each benchmark has defaults for the other parts.

A word names a class (see plasticity_rl/registry.py), the settings after the colon set its fields (several values of one field are joined by
+). A plugin's part is written `my_methods.Decay`.
"""

import dataclasses
import importlib
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launch.config.defaults import PARTS, agent_defaults, defaults_of, preset
from launch.process import listed
from plasticity_rl import plugins, registry, words
from plasticity_rl.checks import UsageError, check_given, choose, nearest
from plasticity_rl.experiment import LISTS, Experiment
from plasticity_rl.files import read_toml
from plasticity_rl.processor import fast_bfloat16

KWARGS = "kwargs"
"""key of tables with a benchmark's field of that name, beside the words"""

INTERVALS = ("diagnose_every", "curvature_every", "probe_every", "probe_updates", "checkpoint_every")
COUNTS = ("members", "seed", *INTERVALS, "evaluate", "actors")


def experiment(said: Mapping[str, Any], device: str = "auto") -> Experiment:
    """Build the experiment that a table of words describes, such as {"benchmark": "atari:games=Pong", "chain": ["nap"], "members": 3}.

    Omitted fields take the benchmark's default, as do omitted settings of a part named by the default's own word. A network's
    `precision=auto` becomes bfloat16 if this machine's `device` has instructions for it, else float32. The experiment holds the resolved
    value, so that another machine resumes with the same precision, or makes a separate run from the same words.
    Raises UsageError with the nearest valid word, before any heavy import if possible.
    """
    known = [*(field.name for field in dataclasses.fields(Experiment)), KWARGS]
    for name in said:
        if name not in known:
            raise UsageError(f"unknown field {name!r} of an experiment; {nearest(str(name), known, listed('run', '--help'))}")
    for field, kind in LISTS.items():
        if not isinstance(said.get(field, []), list | tuple):
            raise UsageError(f"{field} must be a list of {kind}s, not {said[field]!r}")
    counts = {name: words.value(name, said[name], int) if isinstance(said[name], str) else said[name] for name in COUNTS if name in said}
    check_given(Experiment, counts)
    lists = {field: [_split(kind, text) for text in said.get(field, [])] for field, kind in LISTS.items()}
    word, settings = _split("benchmark", said.get("benchmark", "random-labels"))
    entries = _entries(word, settings, said[KWARGS]) if KWARGS in said else {}
    made: dict[str, Any] = {"benchmark": _build("benchmark", word, preset("benchmark", word) | settings, entries)}
    base = _base("benchmark", word)
    defaults = defaults_of(made["benchmark"], base)
    agent = _base("agent", _split("agent", said.get("agent", defaults["agent"]))[0])
    defaults = agent_defaults(defaults, agent, made["benchmark"])
    for kind in ("agent", "network", "optimizer", "schedule"):
        default_word, default_settings = _split(kind, defaults[kind])
        word, settings = _split(kind, said.get(kind, default_word))
        settings = preset(kind, word) | settings
        if _base(kind, word) == default_word:
            settings = {name: value for name, value in default_settings.items() if name not in _redefined(kind, word)} | settings
        if kind == "network" and settings.get("precision") == "auto":
            settings["precision"] = "bfloat16" if fast_bfloat16(device)[0] else "float32"
        made[kind] = _build(kind, word, settings)
    made |= {field: tuple(_build(kind, *each) for each in lists[field]) for field, kind in LISTS.items()}
    made |= {name: defaults[name] for name in COUNTS if name in defaults} | counts
    if "free_running" in said:
        made["free_running"] = said["free_running"]
    return Experiment(**made)


def read_experiment(path: Path) -> dict[str, Any]:
    """Read the words of one experiment from a TOML file."""
    return read_toml(path)


def part_class(kind: str, word: str) -> type:
    """Return the class behind a word of a kind (`method`, `metric`, or a key of PARTS)."""
    if "." in word:
        return plugins.find(kind, word)
    if kind not in PARTS:
        return registry.find(kind, word)
    module, _, name = PARTS[kind][word].rpartition(".")
    return getattr(importlib.import_module(module), name)


def _base(kind: str, word: str) -> str:
    """Return the word itself; for a plugin's class, the word of the class of this project that it derives from, or else an empty text."""
    if "." not in word:
        return word
    return next((found for each in part_class(kind, word).__mro__ if (found := _word_of(kind, each))), "")


def _redefined(kind: str, word: str) -> set[str]:
    """Return the fields whose defaults a plugin's class states anew; none for the project's own."""
    below = itertools.takewhile(lambda each: not _word_of(kind, each), part_class(kind, word).__mro__ if "." in word else ())
    return {name for each in below for name in vars(each).get("__annotations__", {})}


def _word_of(kind: str, made: type) -> str:
    """Return the word of one of the project's classes; empty for any other class."""
    path = f"{made.__module__}.{made.__qualname__}"
    return next((word for word, each in PARTS[kind].items() if each == path), "")


def _lists(kind: str) -> str:
    """Return a clause that names the command that lists words of a kind."""
    return listed("interventions" if kind == "method" else "show")


def _split(what: str, text: Any) -> tuple[str, dict[str, str]]:
    word, settings = words.split(what, text)
    if what == "method":
        word, settings = words.limited(word, settings)
    if "." in word and plugins.is_path(word):
        plugins.find(what, word)
        return word, settings
    return choose(what, word, PARTS.get(what, registry.words(what)), _lists(what)), settings


def _entries(word: str, settings: dict[str, str], tables: Any) -> dict[str, Any]:
    """Return the field `kwargs` of a benchmark from the tables of a TOML file: one for each id, or one for all."""
    tables = [tables] if isinstance(tables, dict) else tables
    if not isinstance(tables, list | tuple) or not all(isinstance(each, dict) for each in tables):
        raise UsageError(f"{KWARGS} must be a table [{KWARGS}], or several [[{KWARGS}]], not {tables!r}")
    if KWARGS not in [field.name for field in dataclasses.fields(part_class("benchmark", word))]:
        raise UsageError(f"{KWARGS} are arguments of constructors, of which {word} has none: they are for gymnasium and envpool")
    if KWARGS in settings:
        raise UsageError(f"{KWARGS} stand both in the words {word}:... and in a table: leave one out")
    try:
        return {KWARGS: tuple(json.dumps(each, sort_keys=True, allow_nan=False) for each in tables)}
    except (TypeError, ValueError) as error:
        raise UsageError(f"{KWARGS} may hold texts, finite numbers, true and false, lists and tables: {error}") from error


def _build(kind: str, word: str, settings: dict[str, str], more: Mapping[str, Any] | None = None) -> Any:
    made = part_class(kind, word)
    return made(**words.values(made, word, settings, listed("show", word)) | dict(more or {}))
