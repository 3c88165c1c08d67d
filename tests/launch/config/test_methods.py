"""The list of methods: facts by hand, hooks and passes by a second reading that runs them."""

import ast
import dataclasses
import inspect
import math
import subprocess
import sys
import typing
from pathlib import Path

import pytest
import torch

from launch.__main__ import main
from launch.config import parse as words
from launch.config.defaults import PARTS
from launch.config.methods import facts, spec_line
from launch.config.parse import part_class
from launch.config.show import field_meanings, wrapped
from plasticity_rl import registry
from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import Intervention, Refresh, assemble
from plasticity_rl.interventions.base import RefreshContext, UpdateContext
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import Adam, Net

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("word", "hooks", "needs", "paper", "citation", "idea"),
    [
        (
            "layer-norm",
            ["build"],
            [],
            "1607.06450",
            "Ba, Kiros & Hinton 2016, arXiv 1607.06450",
            "Normalise each example's pre-activations.",
        ),
        ("weight-decay", ["optimizer"], [], "1711.05101", "Loshchilov & Hutter 2019, arXiv 1711.05101", None),
        ("l2", ["penalty"], [], "", "Krogh & Hertz 1991", None),
        ("l2-init", ["penalty"], [], "2308.11958", "Kumar, Marklund & Van Roy 2023, arXiv 2308.11958", None),
        ("parseval", ["penalty"], [], "1704.08847", "Cisse et al. 2017, arXiv 1704.08847", None),
        ("nap", ["build", "project"], [], "2407.01800", "Lyle et al. 2024, arXiv 2407.01800", None),
        ("reset", ["refresh"], ["task boundaries"], "2205.07802", "Nikishin et al. 2022, arXiv 2205.07802", None),
        (
            "redo",
            ["refresh"],
            [],
            "2302.12902",
            "Sokar et al. 2023, arXiv 2302.12902",
            "Re-initialise the units that hardly respond to a batch.",
        ),
    ],
)
def test_facts_are_what_the_docstring_and_the_class_say(
    word: str, hooks: list[str], needs: list[str], paper: str, citation: str, idea: str | None
) -> None:
    found = facts(word)
    assert (list(found.hooks), list(found.needs), found.paper, found.citation) == (hooks, needs, paper, citation)
    assert idea is None or found.idea == idea


@pytest.mark.parametrize("word", list(registry.METHODS))
def test_moments_and_needs_by_a_second_reading(word: str) -> None:
    made, found = part_class("method", word), facts(word)
    (tree,) = (node for node in ast.parse(inspect.getsource(made)).body if isinstance(node, ast.ClassDef))
    own = {node.name.replace("_", "-") for node in tree.body if isinstance(node, ast.FunctionDef)}
    if set(made.__mro__) <= {made, Intervention, Refresh, *Refresh.__mro__}:
        assert set(found.hooks) == own & {"build", "optimizer", "penalty", "after-step", "refresh", "project"}
    method = made()
    assert ("task boundaries" in found.needs) == (isinstance(method, Refresh) and method.clock == "task")

    network, optimizer = assemble(MLP(width=8, depth=20), Adam(), (method,), (5,), 3)  # so deep that no method refuses it
    draw, calls = torch.Generator().manual_seed(0), []
    params, inputs = network.init(draw), torch.randn(6, 5, generator=draw)

    def apply(params: dict[str, torch.Tensor], raw: bool = False) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        calls.append(raw)
        return network.apply(params, inputs, raw=raw)

    state = method.init(params, network.layers, draw)
    seen = UpdateContext(apply, {name: torch.randn(shape, generator=draw) for name, shape in network.shapes.items()})
    method.penalty(params, state, network.layers, seen)
    net = Net(params, optimizer.init(params))
    method.after_step(net, state, params, network.layers, seen)
    if isinstance(method, Refresh):
        evidence = RefreshContext(network.init(draw), network.apply(params, inputs)[1], apply)
        method.refresh(net, state, evidence, network.layers)
    assert ("second forward pass" in found.needs) == bool(calls)


@pytest.mark.parametrize("word", list(registry.METHODS))
def test_a_page_holds_all_fields_and_its_line_makes_the_method(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = part_class("method", word)
    assert main(["interventions", word]) == 0
    page = capsys.readouterr().out
    assert all(field.name in page for field in dataclasses.fields(made)) and made.__name__ in page
    assert all(field_meanings(made).get(field.name) for field in dataclasses.fields(made))
    line = page.rstrip().splitlines()[-1].removeprefix("--chain ")
    assert line.removeprefix(word).removeprefix(":") == spec_line(made())
    if made().is_noop(Adam()):  # its settings need a record, absent by default
        assert word == "layer-rates"
        with pytest.raises(UsageError, match="has no effect under Adam"):
            words.experiment({"chain": [line]})
    else:
        assert words.experiment({"chain": [line]}).chain == (made(),)
    said = " ".join((inspect.getdoc(made) or "").split())
    assert said in " ".join(page.split())  # wrapped, and complete


WORDS = {"method": list(registry.METHODS), "optimizer": PARTS["optimizer"], "schedule": PARTS["schedule"]}


@pytest.mark.parametrize(("kind", "word"), [(kind, word) for kind, words in WORDS.items() for word in words])
def test_no_number_is_without_bounds(kind: str, word: str) -> None:
    made = part_class(kind, word)
    hints = {field.name: typing.get_type_hints(made)[field.name] for field in dataclasses.fields(made)}
    for name in (name for name, hint in hints.items() if {int, float} & {hint, *typing.get_args(hint)}):
        for bad in (-1, math.nan, math.inf, "1", True):
            with pytest.raises(UsageError, match=rf"^{made.__name__}: {name} must .*") as raised:
                made(**{name: bad})
            assert "\n" not in str(raised.value)


def test_a_line_each_and_a_row_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["interventions"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["word", "hooks", "needs", "arXiv", "idea"]
    assert [line.split()[0] for line in lines] == list(registry.METHODS)
    assert main(["interventions", "--markdown"]) == 0
    head, rule, *rows = capsys.readouterr().out.splitlines()
    assert {line.count("|") for line in (head, rule, *rows)} == {6}
    assert [row.split("|")[2].strip(" `") for row in rows] == list(registry.METHODS)
    assert "\n".join((head, rule, *rows)) in (ROOT / "docs/interventions.md").read_text(), (
        "python -m launch interventions --markdown makes the table of docs/interventions.md"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [(["rdo"], "unknown method 'rdo'; did you mean redo?"), (["redo", "--markdown"], "omit the method"), (["--markdwn"], "--markdown")],
)
def test_a_mistake_is_one_line(line: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["interventions", *line]) == 2
    captured = capsys.readouterr()
    assert said in captured.err and captured.err.count("\n") == 1 and not captured.out


@pytest.mark.process
def test_help_needs_no_torch() -> None:
    code = "import sys; from launch.__main__ import main; main(['interventions', '--help']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "--markdown" in done.stdout


def test_texts_are_wrapped_by_paragraph_and_point() -> None:
    text = "One two\nthree.\n\nFour:\n- five six\n  seven\n- eight"
    assert wrapped(text, 10) == ["One two", "three.", "", "Four:", "- five six", "  seven", "- eight"]
