"""Parts in words."""

import pytest

from plasticity_rl import words
from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import LayerNorm, LayerRates, NormalizeAndProject, ReDo, Reset


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redo", ReDo()),
        ("redo:tau=0.1,every=1_500", ReDo(tau=0.1, every=1500)),
        ("redo:clock=task,every=none", ReDo(clock="task")),
        ("nap:norm=given,scale_and_offset=free", NormalizeAndProject(norm="given", scale_and_offset="free")),
        ("policy.redo:tau=0.1", ReDo(tau=0.1, only="policy")),
        ("redo:tau=0.1,only=critic1", ReDo(tau=0.1, only="critic1")),
        ("critic.layer-norm", LayerNorm(only="critic")),
        ("policy.reset", Reset(part="network", only="policy")),
        ("reset:only=policy,part=heads", Reset(part="heads", only="policy")),
        ("layer-rates:updates=0+4,factors=1+0.5", LayerRates(updates=(0, 4), factors=(1.0, 0.5))),
    ],
)
def test_a_method_in_words(text, expected):
    assert words.part("method", text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (7, "a method must be written as words, not 7"),
        ("reedo", "unknown method 'reedo'; did you mean redo"),
        ("redo:tao=0.1", "redo has no field 'tao'; did you mean tau"),
        ("redo:tau", "'tau' in 'redo:tau' is not of the form field=value"),
        ("redo:tau=0.1,tau=0.2", "tau is set twice"),
        ("redo:tau=much", "redo: tau must be a number, not 'much'"),
        ("redo:every=0.5", "redo: every must be a whole number"),
        ("my_methods.Decay", "my_methods"),
        ("critic.reedo", "unknown method 'reedo'; did you mean redo"),
        ("critic.layer-nrom", "unknown method 'layer-nrom'; did you mean layer-norm"),
        (".redo", "unknown method '.redo'; did you mean redo"),
        ("critic.redo:only=actor", "critic.redo:only=actor names its network twice: leave one out"),
        ("critic.reset:part=everything", "part=everything makes a new agent and cannot be limited to critic; take part=network"),
    ],
)
def test_a_mistake_is_one_line(text, message):
    with pytest.raises(UsageError, match=message) as error:
        words.part("method", text)
    assert "\n" not in str(error.value)
