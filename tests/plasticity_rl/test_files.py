"""Text, TOML and CSV files: all usual encodings, separators and line ends; one-line errors for others."""

import ast
import re
from pathlib import Path

import pytest

from launch.cluster.tune import read_search
from launch.config import parse
from launch.run.sweep import read_sweep
from plasticity_rl.checks import UsageError
from plasticity_rl.files import choose_columns, read_csv, read_text, read_toml

ROOT = Path(__file__).parents[2]
LINES = "members = 3\n# läuft\n"
READABLE = {
    "UTF-8": LINES.encode(),
    "UTF-8 with a byte-order mark": b"\xef\xbb\xbf" + LINES.encode(),
    "UTF-16, low byte first": b"\xff\xfe" + LINES.encode("utf-16-le"),
    "UTF-16, high byte first": b"\xfe\xff" + LINES.encode("utf-16-be"),
    "line ends of Windows": LINES.replace("\n", "\r\n").encode(),
    "line ends of old Macs": LINES.replace("\n", "\r").encode(),
}
REFUSED = {
    "Windows-1252": (LINES.encode("cp1252"), "is not UTF-8 in line 2 (byte 0xe4); save it as UTF-8"),
    "UTF-16 without a byte-order mark": (b"a = 1\n".decode().encode("utf-16-le"), "as UTF-16 without a byte-order mark"),
    "UTF-16 cut short": (b"\xff\xfea", "is damaged UTF-16"),
    "UTF-32": (LINES.encode("utf-32"), "is not UTF-8"),
}


@pytest.mark.parametrize("content", READABLE.values(), ids=READABLE.keys())
def test_usual_encodings_are_one_text(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.toml").write_bytes(content)
    assert read_text(tmp_path / "a.toml") == LINES and read_toml(tmp_path / "a.toml") == {"members": 3}


@pytest.mark.parametrize(("content", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_other_encodings_are_named_in_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_text(tmp_path / "a.toml")
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["nothing.toml", "."])
def test_what_is_no_file_is_named(tmp_path: Path, path: str) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read_text(tmp_path / path)


def test_experiments_sweeps_and_searches_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    for encoding in ("utf-8-sig", "utf-16"):
        file.write_text('members = 3\n[search]\nnetwork = "mlp:width=10..20"\n', encoding)
        assert read_search(file) == ({"members": 3}, {"network": ["mlp:width=10..20"]})
        file.write_text("[[experiments]]\nmembers = 3\n", encoding)
        assert read_sweep(file) == [{"members": 3}]
        file.write_text("members = 3\n", encoding)
        assert parse.read_experiment(file) == {"members": 3}


def test_a_sweep_drops_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("members = 9\n[[experiments]]\nseed = 1\n")
    with pytest.raises(UsageError, match=r"unknown field 'members'; a sweep holds only tables \[\[experiments\]\]"):
        read_sweep(file)


def test_a_table_of_csv(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('# by hand\n\nTask; Score\n"a; b";\t1 \n;\n\nc; 2\n')
    header, rows = read_csv(file)
    assert choose_columns(file, header, ("score", "task")) == ["task", "score"]
    assert rows == [(4, ["a; b", "1"]), (7, ["c", "2"])]
    file.write_text('a,b\n"1,2\n')
    with pytest.raises(UsageError, match="row 2: not CSV: unexpected end of data"):
        read_csv(file)


def written(path: Path) -> list[str]:
    """Each f-string of a source file, with a brace for each value."""
    strings = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.JoinedStr))
    return ["".join(str(part.value) if isinstance(part, ast.Constant) else "{" for part in node.values) for node in strings]


def test_no_command_is_printed_with_words_that_a_shell_may_split() -> None:
    """Printed commands join values by shlex.join, not in f-strings."""
    for package in ("plasticity_rl", "envs", "agents", "launch", "analysis"):
        for path in (ROOT / package).rglob("*.py"):
            for text in written(path):
                after = text.partition("python -m launch")[2].partition("`")[0]
                assert "{" not in after and not re.search(r"--[a-z-]+ \{", text), (path, text)
