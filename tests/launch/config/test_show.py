"""Pages of `show`: whole sentences, whole values, and the settings that a preset changes."""

import pytest

from launch.__main__ import main
from launch.config.defaults import preset
from launch.config.show import KINDS, base_of, first_sentence, idea, words

WORDS = [(kind, word) for kind in KINDS for word in words(kind)]


@pytest.mark.parametrize(("kind", "word"), WORDS)
def test_nothing_is_cut_off_in_a_narrow_terminal(
    kind: str, word: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["show", word]) == 0
    page = capsys.readouterr().out
    assert "…" not in page
    if base_of(kind, word) != word:
        assert f"It is `{base_of(kind, word)}`" in page and preset(kind, word)
        for name, value in preset(kind, word).items():
            assert f"\n{name}={value}\n" in page
    else:
        assert all(value in page for value in preset(kind, word).values())


def test_the_list_has_a_whole_sentence_for_each_word_and_no_two_are_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    lines = {word: idea(kind, word) for kind, word in WORDS}
    assert len(set(lines.values())) == len(lines)
    assert all(line.endswith((".", "?")) or line.startswith("`") for line in lines.values())
    assert all(line.count("(") == line.count(")") for line in lines.values())
    assert lines["dqn"] == "Q-learning with a target network and replay (Mnih et al. 2015, Nature 518)."
    assert lines["abbas-5"] == "`atari` with 5 games, frames=20_000_000"
    assert lines["rainbow-sequential"].replace("warmup-cosine", "constant:rate=6.25e-5") == lines["rainbow"]
    assert main(["show"]) == 0
    page = " ".join(capsys.readouterr().out.split())
    assert all(" ".join(line.split()) in page for line in lines.values()) and "…" not in page


def test_the_list_of_methods_is_whole_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    assert main(["interventions"]) == 0
    assert "…" not in capsys.readouterr().out


def test_a_sentence_ends_where_the_next_begins() -> None:
    assert first_sentence("One (Mnih et al. 2015)\nand two. Three.\n\nFour.") == "One (Mnih et al. 2015) and two."
    assert first_sentence("Is it? `It` is.") == "Is it?"
    assert first_sentence("no end") == "no end"
