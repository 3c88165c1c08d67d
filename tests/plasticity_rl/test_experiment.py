"""Experiments: JSON both ways, keys, labels, refusals; and the command-line words that make them."""

import copy
import dataclasses
import functools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launch.config import defaults, parse
from plasticity_rl import registry
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment, word
from plasticity_rl.interventions import LayerNorm, NormalizeAndProject, ReDo, Reset, WeightDecay
from tests.learners import MEMBERS

EXAMPLES: list[dict[str, Any]] = [
    {},
    {"chain": ["nap", "redo:tau=0.1,every=500"], "members": 3, "seed": 7},
    {"benchmark": "random-labels:fraction=0.5,tasks=2", "schedule": "linear:rate=1e-2,clock=visit", "optimizer": "sgd:momentum=0.9"},
    {"benchmark": "cartpole", "agent": "dqn:n_step=3", "chain": ["reset:part=heads,clock=update,every=100"]},
    {"benchmark": "atari:games=Pong+Breakout,frames=400000", "chain": ["shrink-and-perturb"], "optimizer": "rmsprop:centered=true"},
    {"benchmark": "carmack-8", "chain": ["reset"]},
]


@pytest.mark.parametrize("said", EXAMPLES)
def test_json_there_and_back_is_the_same_experiment(said: dict[str, Any]) -> None:
    made = parse.experiment(said)
    again = Experiment.from_json(json.loads(json.dumps(made.to_json())))
    assert again == made and again.key == made.key and again.setting == made.setting


def test_the_key_is_of_the_content_and_survives_a_rewrite() -> None:
    keys = [parse.experiment(said).key for said in EXAMPLES]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 16 and set(key) <= set("0123456789abcdef") for key in keys)
    assert parse.experiment({"members": 5, "seed": 0}).key == parse.experiment({}).key  # stated defaults change nothing


def test_a_setting_is_all_but_chain_seed_and_members() -> None:
    base = parse.experiment({})
    assert base.setting == parse.experiment({"chain": ["nap"], "seed": 3, "members": 2}).setting
    for other in (
        {"network": "mlp:width=50"},
        {"agent": "supervised:batch_size=16"},
        {"schedule": "constant:rate=1e-4"},
        {"checkpoint_every": 7},
    ):
        assert base.setting != parse.experiment(other).setting


def test_labels_read_as_the_chain_was_written() -> None:
    assert parse.experiment({}).label == "none"
    assert parse.experiment({"chain": ["layer-norm", "weight-decay"]}).label == "layer-norm + weight-decay"
    assert parse.experiment({"chain": ["nap", "redo:tau=0.1"]}).label == "nap + redo:tau=0.1"
    fresh = parse.experiment({"chain": ["reset"]})
    assert fresh.label == "fresh" and fresh.fresh_control
    assert not parse.experiment({"chain": ["reset:part=network"]}).fresh_control
    assert not parse.experiment({"chain": ["reset:every=2"]}).fresh_control
    own = parse.experiment({"chain": ["nap", "reset"]})
    assert own.label == "nap + reset" and own.fresh_control
    assert not parse.experiment({"chain": ["reset", "nap"]}).fresh_control


def test_a_method_of_one_network_is_labelled_so_and_others_keep_their_json() -> None:
    said = {"benchmark": "cartpole", "agent": "ppo:separate=true"}
    made = parse.experiment(said | {"chain": ["policy.layer-norm", "redo:tau=0.1,only=value", "value.reset", "redo"]})
    assert made.label == "policy.layer-norm + value.redo:tau=0.1 + value.reset:part=network + redo"
    described = json.loads(json.dumps(made.to_json()))
    assert Experiment.from_json(described) == made and parse.experiment(said | {"chain": made.label.split(" + ")}) == made
    assert [fields.get("only") for _, fields in described["chain"]] == ["policy", "value", "value", None]
    assert described["chain"][3] == parse.experiment({"chain": ["redo"]}).to_json()["chain"][0]
    assert made.setting == parse.experiment(said).setting and not made.fresh_control


@pytest.mark.parametrize("method", MEMBERS, ids=word)
def test_a_limited_methods_label_and_json_make_it(method: Any) -> None:
    if getattr(method, "part", "") == "everything":
        return
    method = dataclasses.replace(method, only="critic")
    made = parse.experiment({"chain": [word(method)]})
    assert word(method).startswith("critic.") and "only" not in word(method).partition(".")[2]
    assert made.chain == (method,) == Experiment.from_json(made.to_json()).chain


def test_a_clock_brings_its_own_default_and_the_label_says_so() -> None:
    made = parse.experiment({"chain": ["redo", "redo:clock=task", "reset:clock=update,every=5"]})
    assert [each.every for each in made.chain] == [1000, 1, 5]
    assert made.label == "redo + redo:clock=task,every=1 + reset:clock=update,every=5"


@pytest.mark.parametrize("method", MEMBERS, ids=repr)
def test_a_label_is_what_makes_the_method(method: Any) -> None:
    assert parse.experiment({"chain": [word(method)]}).chain == (method,)


def test_json_without_a_part_is_refused() -> None:
    described = parse.experiment({}).to_json()
    del described["agent"], described["network"]
    with pytest.raises(UsageError, match="an experiment needs agent, network"):
        Experiment.from_json(described)


def test_words_make_the_parts_they_name() -> None:
    made = parse.experiment(
        {"chain": ["layer-norm", "weight-decay:strength=0.1,decayed=all", "nap:norm=given", "redo:tau=0.1", "reset:part=heads"]}
    )
    assert made.chain == (
        LayerNorm(),
        WeightDecay(strength=0.1, decayed="all"),
        NormalizeAndProject(norm="given"),
        ReDo(tau=0.1),
        Reset(part="heads"),
    )


def test_a_part_named_with_the_defaults_word_keeps_its_settings() -> None:
    cartpole = parse.experiment({"benchmark": "cartpole", "agent": "dqn:n_step=3"}).agent
    assert cartpole.n_step == 3 and cartpole.min_replay == 1000  # the benchmark's, not the class's
    assert parse.experiment({"benchmark": "cartpole", "optimizer": "sgd"}).optimizer.momentum == 0.0


def test_every_word_makes_its_part_by_default() -> None:
    for kind, table in defaults.PARTS.items():
        for name in table:
            assert dataclasses.is_dataclass(parse.part_class(kind, name))
    for method in registry.METHODS:
        assert parse.part_class("method", method)()
    assert {"layer-norm", "weight-decay", "l2-init", "nap", "reset", "shrink-and-perturb", "redo"} <= set(registry.METHODS)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"benchmrk": "cartpole"}, "unknown field 'benchmrk' of an experiment; did you mean benchmark?"),
    ({"benchmark": "cartpol"}, "unknown benchmark 'cartpol'; did you mean cartpole?"),
    ({"benchmark": 3}, "benchmark must be written as words"),
    ({"benchmark": "atari:games=pong"}, "did you mean Pong?"),
    ({"benchmark": "atari:games=ALE/Pong-v5"}, "Pong"),
    ({"benchmark": "atari:frames=0"}, "frames"),
    ({"benchmark": "atari:sticky=1.5"}, "sticky"),
    ({"benchmark": "cartpole:tasks=0"}, "tasks"),
    ({"benchmark": "random-labels:dataset=digitz"}, "did you mean digits?"),
    ({"benchmark": "random-labels:images=1798"}, "images must lie in [1, 1797]"),
    ({"benchmark": "random-labels:fraction=0"}, "fraction"),
    ({"benchmark": "random-labels:fraction=nan"}, "fraction must be a finite number"),
    ({"agent": "dqm"}, "did you mean dqn?"),
    ({"agent": "dqn"}, "DQN learns from rewards, but RandomLabels provides labels"),
    ({"benchmark": "cartpole", "agent": "supervised"}, "Supervised learns from labels"),
    ({"benchmark": "cartpole", "agent": "dqn:discount=1.1"}, "discount"),
    ({"benchmark": "cartpole", "agent": "dqn:min_replay=50000"}, "min_replay must be at most 49992 with replay=50000, not 50000"),
    ({"benchmark": "cartpole", "agent": "dqn:num_envs=1000000000"}, "num_envs must lie in [1, 4096]"),
    ({"benchmark": "cartpole:frames=1001"}, "visits of 1001 frames are not a multiple of 8, a step of 8 environments; 1000 is"),
    ({"benchmark": "cartpole:frames=1000"}, "a visit of 1000 frames is too short to learn: min_replay takes 1000 steps"),
    ({"benchmark": "atari:frames=80000"}, "a visit of 80000 frames is too short to learn"),
    ({"benchmark": "random-labels:tasks=1000000000"}, "tasks must lie in [1, 100_000]"),
    ({"benchmark": "cartpole", "agent": "dqn:num_envs=0"}, "num_envs"),
    ({"benchmark": "cartpole", "agent": "dqn:double=maybe"}, "double"),
    ({"network": "mpl"}, "did you mean mlp?"),
    ({"network": "mlp:width=0"}, "width"),
    ({"network": "mlp:norm=group"}, "norm cannot be 'group'"),
    (
        {"benchmark": "cartpole", "network": "mlp:norm=batch"},
        "DQN acts on other batches than it learns from, and with norm=batch outputs depend on the batch; take layer or rms",
    ),
    ({"benchmark": "cartpole", "agent": "ppo", "chain": ["batch-mean-norm"]}, "PPO acts on other batches than it learns from"),
    ({"network": "mlp:width=1e2"}, "width must be a whole number, not '1e2'"),
    ({"optimizer": "adam:beta1=1"}, "beta1 must lie in [0, 1)"),
    ({"optimizer": "adam:epsilon=0"}, "epsilon"),
    ({"optimizer": "adam:lr=1e-3"}, "adam has no field 'lr'"),
    ({"schedule": "constant:rate=0"}, "rate must lie in (0, inf)"),
    ({"schedule": "constant:rate=-1e-3"}, "rate must lie in (0, inf)"),
    ({"schedule": "constant:rate=inf"}, "rate must be a finite number"),
    ({"schedule": "constant:rate=abc"}, "rate must be a number, not 'abc'"),
    ({"schedule": "linear:clock=task"}, "clock cannot be 'task'"),
    ({"chain": "nap"}, "chain must be a list of methods"),
    ({"chain": ["nape"]}, "unknown method 'nape'; did you mean nap?"),
    ({"chain": ["redo:tau"]}, "'tau' in 'redo:tau' is not of the form field=value"),
    ({"chain": ["redo:tau=0.1,tau=0.2"]}, "tau is set twice"),
    ({"chain": ["redo:every=0"]}, "every must lie in [1, inf)"),
    ({"chain": ["reset:clock=update"]}, "Reset: clock=update needs every, the number of updates between two refreshes"),
    ({"chain": ["shrink-and-perturb:clock=update"]}, "clock=update needs every"),
    ({"chain": ["l2", "nap", "l2"]}, "L2 is twice in the chain with the same settings: name it once"),
    ({"chain": ["weight-decay", "weight-decay:strength=0.01"]}, "WeightDecay is twice in the chain with the same settings"),
    (
        {"chain": ["weight-clipping", "weight-clipping:kappa=2"]},
        "WeightClipping is twice in the chain, and only one of its settings can act",
    ),
    ({"chain": ["layer-rates"]}, "layer-rates has no effect under Adam; change its settings or leave it out"),
    ({"chain": ["shrink-and-perturb:shrink=1,perturb=0"]}, "shrink-and-perturb:shrink=1.0,perturb=0.0 has no effect"),
    ({"chain": ["powerprop:alpha=1"]}, "powerprop:alpha=1.0 has no effect"),
    ({"chain": ["leaky-relu:slope=0"]}, "leaky-relu:slope=0.0 has no effect"),
    ({"chain": ["reset:part=optimizer"], "optimizer": "sgd"}, "reset:part=optimizer has no effect under SGD"),
    ({1: 2}, "unknown field 1 of an experiment"),
    ({"chain": ["l2-init:strength=0"]}, "strength"),
    ({"chain": ["nap:pull=0"]}, "pull"),
    ({"members": 0}, "members must lie in [1, 4096]"),
    ({"members": "five"}, "members must be a whole number, not 'five'"),
    ({"members": 2.0}, "members must be a whole number"),
    ({"seed": -1}, "seed must lie in"),
    ({"seed": 2**31}, "seed must lie in"),
    ({"checkpoint_every": 0}, "checkpoint_every"),
    ({"diagnose_every": 0}, "diagnose_every"),
]


@pytest.mark.parametrize(("said", "message"), BAD, ids=[str(said) for said, _ in BAD])
def test_mistakes_are_named_in_one_line(said: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        parse.experiment(said)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"chain": [["rdo", {}]]}, "unknown method 'rdo'; did you mean redo?"),
        ({"chain": [["os.system", {}]]}, "unknown method 'os.system'"),
        ({"chain": [["../x.Y", {}]]}, "unknown method"),
        ({"chain": [["redo.ReDo", {}]]}, "unknown method 'redo.ReDo'; did you mean redo?"),
        ({"chain": [["redo", {"tua": 1}]]}, "unknown field 'tua' of redo; did you mean tau?"),
        ({"agent": "dqn"}, "agent must be a word and its fields, not 'dqn'"),
        ({"colour": 1}, "unknown field 'colour'"),
        ({"agent": None}, "agent must be a word"),
    ],
)
def test_json_from_elsewhere_runs_nothing_and_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Experiment.from_json(parse.experiment({}).to_json() | changed)


def test_toml_holds_an_experiment(tmp_path: Path) -> None:
    file = tmp_path / "first.toml"
    file.write_text('benchmark = "random-labels:tasks=2"\nchain = ["nap", "redo"]\nmembers = 3\n')
    made = parse.experiment(parse.read_experiment(file))
    assert made.members == 3 and made.label == "nap + redo" and made.benchmark.tasks == 2
    file.write_text("members = 3\nmembers = 4\n")
    with pytest.raises(UsageError, match="is not TOML"):
        parse.read_experiment(file)
    with pytest.raises(UsageError, match="cannot read"):
        parse.read_experiment(tmp_path / "second.toml")


@pytest.mark.parametrize(("said", "norm"), [({"chain": ["batch-norm"]}, "batch"), ({"network": "mlp:norm=batch-mean"}, "batch-mean")])
def test_a_norm_over_the_batch_is_refused_a_batch_of_one(said: dict[str, Any], norm: str) -> None:
    parse.experiment(said | {"agent": "supervised:batch_size=2"})
    with pytest.raises(UsageError) as raised:
        parse.experiment(said | {"agent": "supervised:batch_size=1"})
    assert (
        str(raised.value)
        == f"Supervised: with batch_size=1, norm={norm} subtracts each example from itself; use layer or rms, or a larger batch"
    )


STRANGE: list[Any] = [None, True, -1, 0, 1e308, math.nan, math.inf, "", "x", "../x", "a\0b", [], {}, [[]], [1, 2], 10**30, {"a": 1}]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        yield (*path, key)
        yield from places(each, (*path, key))


@pytest.mark.parametrize(
    "said",
    [
        {"benchmark": "random-labels", "chain": ["nap", "redo"]},
        {"benchmark": "atari:games=Pong", "agent": "rainbow", "chain": ["reset"]},
        {"benchmark": "gymnasium:ids=CartPole-v1", "agent": "ppo"},
    ],
)
def test_any_value_in_any_place_makes_an_experiment_or_a_usage_error(said: dict[str, Any]) -> None:
    described = parse.experiment(said).to_json()
    refused = 0
    for path in places(described):
        for value in STRANGE:
            changed = copy.deepcopy(described)
            *above, last = path
            place = functools.reduce(lambda inside, key: inside[key], above, changed)
            place[last] = value
            try:
                Experiment.from_json(changed)
            except UsageError:
                refused += 1
    assert refused > 1_000
