"""Others' names for this project's words, on the command line and in the table."""

import dataclasses
import re

import pytest

from launch.__main__ import COMMANDS, main
from launch.commands.options import flags
from launch.config.parse import _build, _split, experiment, part_class
from launch.config.show import KINDS, words
from plasticity_rl.checks import nearest
from plasticity_rl.experiment import Experiment
from plasticity_rl.synonyms import SYNONYMS, plain

PARTS = [(kind, word) for kind in KINDS for word in words(kind)]
LR = "the learning rate is the schedule's: --schedule constant:rate=1e-3"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("run --lr 0.01", f"unknown option '--lr'; {LR}"),
        ("run --name x --optimizer adam:lr=1e-3", f"adam has no field 'lr'; {LR}"),
        ("run --name x --schedule constant:lr=1e-3", f"constant has no field 'lr'; {LR}"),
        ("run --name x --chain cbp", "unknown method 'cbp'; did you mean continual-backprop?"),
        ("run --name x --chain ln", "unknown method 'ln'; did you mean layer-norm?"),
        ("run --name x --chain wd", "did you mean weight-decay?"),
        ("run --name x --chain s&p", "did you mean shrink-and-perturb?"),
        ("run --name x --chain snr", "did you mean self-normalized-resets?"),
        ("run --name x --chain L2Init", "did you mean l2-init?"),
        ("run --name x --chain none", "unknown method 'none'; the plain agent is a chain of nothing: leave --chain out"),
        ("run --name x --benchmark cartpole --agent ppo:lam=0.95", "ppo has no field 'lam'; did you mean gae_lambda?"),
        ("run --name x --benchmark cartpole --agent ppo:n_steps=64", "did you mean rollout_length?"),
        ("run --name x --benchmark cartpole --agent dqn:n_steps=3", "did you mean n_step?"),
        ("run --name x --benchmark cartpole --agent dqn:gamma=0.9", "did you mean discount?"),
        ("run --name x --benchmark cartpole --agent dqn:n_envs=8", "did you mean num_envs?"),
        ("run --name x --benchmark cartpole --agent dqn:utd=8", "did you mean updates_per_step?"),
        ("run --name x --benchmark cartpole --agent dqn:replay_ratio=8", "did you mean updates_per_step?"),
        ("run --name x --benchmark cartpole --agent dqn:target_update=8", "did you mean target_every?"),
        ("run --name x --agent supervised:bs=8", "did you mean batch_size?"),
        # fields that had another name before
        ("run --name x --agent supervised:batch=8", "did you mean batch_size?"),
        ("run --name x --benchmark cartpole --agent dqn:environments=8", "did you mean num_envs?"),
        ("run --name x --benchmark cartpole --agent dqn:steps=3", "did you mean n_step?"),
        ("run --name x --benchmark cartpole --agent dqn:priority=0.5", "did you mean priority_exponent?"),
        ("run --name x --benchmark cartpole --agent dqn:correction=0.5", "did you mean importance_exponent?"),
        ("run --name x --benchmark cartpole --agent dqn:atoms=5", "did you mean num_atoms?"),
        ("run --name x --benchmark cartpole --agent dqn:limit=5", "did you mean v_max?"),
        ("run --name x --benchmark cartpole --agent dqn:exploration=0.5", "did you mean exploration_fraction?"),
        ("run --name x --benchmark cartpole --agent ppo:unroll=8", "did you mean rollout_length?"),
        ("run --name x --benchmark cartpole --agent ppo:decay=0.9", "did you mean gae_lambda?"),
        ("run --name x --benchmark cartpole --agent pqn:decay=0.9", "did you mean q_lambda?"),
        ("run --name x --benchmark cartpole --agent ppo:entropy=0", "did you mean entropy_coef?"),
        ("run --name x --benchmark cartpole --agent ppo:critic=1", "did you mean value_coef?"),
        ("run --name x --benchmark cartpole --agent ppo:clip=0.2", "did you mean clip_range?"),
        ("run --name x --benchmark cartpole --agent ppo:pools=2", "did you mean num_pools?"),
        ("run --name x --agent supervised:epochs=8", "budgets are the benchmark's"),
        ("run --name x --network mlp:hidden_size=8", "did you mean width?"),
        ("run --name x --optimizer adam:eps=1e-5", "did you mean epsilon?"),
        ("run --name x --chain redo:threshold=0.1", "did you mean tau?"),
        ("run --gamma 0.99", "the discount is the agent's: --agent dqn:discount=0.99"),
        ("run --seeds 5", "did you mean --members?"),
        ("train", "unknown command 'train'; did you mean run?"),
        ("show lr", LR),
        # no near name: how to list all, never a part of them
        ("run --name x --chain qwxyz", "unknown method 'qwxyz'; `python -m launch interventions` lists them\n"),
        ("run --name x --benchmark qwxyz", "`python -m launch show` lists them\n"),
        ("run --name x --benchmark cartpole --agent dqn:qwxyz=1", "dqn has no field 'qwxyz'; `python -m launch show dqn` lists them\n"),
        ("run --qwxyz 1", "`python -m launch run --help` lists them\n"),
        ("qwxyz", "`python -m launch --help` lists them\n"),
        ("show qwxyz", "`python -m launch show` lists them\n"),
        ("interventions qwxyz", "`python -m launch interventions` lists them\n"),
    ],
)
def test_what_others_call_so_is_understood(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    complaint = capsys.readouterr().err
    assert said in complaint and complaint.count("\n") == 1


def test_a_setting_in_a_table_of_words_is_understood_too() -> None:
    with pytest.raises(ValueError, match=LR.partition(":")[0]):
        experiment({"lr": 0.01})


def test_all_choices_are_listed_where_nothing_else_lists_them() -> None:
    many = [f"game{letter}" for letter in "abcdefghijklmnop"]
    assert nearest("qwxyz", many) == f"one of: {', '.join(many)}"
    assert nearest("qwxyz", many[:12], "elsewhere") == f"one of: {', '.join(many[:12])}"
    assert nearest("qwxyz", many, "elsewhere") == "elsewhere"
    assert nearest("lr", ["red", "green"]) == "one of: green, red"  # no experiment's word is asked for


def test_what_the_table_leads_to_is_there() -> None:
    known = {word for _, word in PARTS} | {field.name for field in dataclasses.fields(Experiment)} | set(COMMANDS)
    for kind, word in PARTS:
        for field in dataclasses.fields(part_class(kind, word)):
            known |= {field.name, *re.findall(r"'([^']+)'", str(field.type))}
    known |= {flag for command in COMMANDS.values() for flag in flags(command)}
    assert {ours for row in SYNONYMS for ours in row.ours.split()} <= known
    for row in SYNONYMS:
        assert row.ours or row.elsewhere
        named = [plain(name) for name in row.names.split()]
        assert len(set(named)) == len(named), row.names


@pytest.mark.parametrize("hint", [row.elsewhere for row in SYNONYMS if "--" in row.elsewhere])
def test_what_a_hint_shows_is_a_command_line(hint: str) -> None:
    for option, value in re.findall(r"--(\S+) (\S+:\S+|weight-decay|cuda)", hint):
        kind = "method" if option == "chain" else option
        if kind in KINDS:
            word, settings = _split(kind, value.rstrip(",.:"))
            assert dataclasses.is_dataclass(_build(kind, word, settings))
