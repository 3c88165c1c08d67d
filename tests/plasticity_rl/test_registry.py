"""Names on disk: every word ever used, and its class today."""

import dataclasses
import json
from pathlib import Path

import pytest

from plasticity_rl import registry
from plasticity_rl.checks import UsageError

NAMES = json.loads((Path(__file__).parent / "names_on_disk.json").read_text())


@pytest.mark.parametrize("kind", NAMES)
def test_the_names_on_disk_are_the_committed_ones(kind: str) -> None:
    """Words are never removed or reused, as existing runs hold them; new ones are added to the list."""
    assert set(NAMES) == {*registry.TABLES, *registry.ELSEWHERE}
    assert {word: path.rpartition(".")[2] for word, path in registry.words(kind).items()} == NAMES[kind]


@pytest.mark.parametrize(("kind", "word"), [(kind, word) for kind, words in NAMES.items() for word in words])
def test_a_word_and_its_class_lead_to_each_other(kind: str, word: str) -> None:
    found = registry.find(kind, word)
    assert found.__name__ == NAMES[kind][word] and dataclasses.is_dataclass(found)
    assert registry.name(found()) == word


def test_no_class_has_two_words() -> None:
    for kind in NAMES:
        paths = list(registry.words(kind).values())
        assert len(set(paths)) == len(paths)


def test_every_intervention_has_a_word() -> None:
    from plasticity_rl import interventions
    from plasticity_rl.interventions import Intervention, Refresh

    exported = {each.__name__ for each in vars(interventions).values() if isinstance(each, type) and issubclass(each, Intervention)}
    assert exported - {Intervention.__name__, Refresh.__name__} == set(NAMES["method"].values())


def test_an_unknown_word_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown network 'natur'; did you mean nature\?"):
        registry.find("network", "natur")
