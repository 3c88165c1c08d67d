"""The Python in docs/library.md and CONTRIBUTING.md, as shown; the tree and the links of all pages."""

import re
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn

import plasticity_rl
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP

ROOT = Path(__file__).parents[1]


def shown(page: str) -> list[str]:
    """The Python blocks of a page."""
    text = (ROOT / page).read_text()
    return [textwrap.dedent(block) for block in re.findall(r"^ *```python\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)]


def test_in_your_own_code() -> None:
    code, *_ = shown("docs/library.md")
    known: dict = {}
    exec(code.replace("seed=0)", "seed=0, compile=False)"), known)
    learner = known["learner"]
    assert learner.ticks == {"update": 1, "task": 1}
    birth = learner.fresh("birth")
    assert all((param != birth[name]).flatten(1).any(1).all() for name, param in learner.net.params.items() if name.endswith("weight"))


@pytest.mark.parametrize(("page", "block"), [("docs/library.md", 1), ("README.md", 0)])
def test_in_your_own_loop(page: str, block: int) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 3))
    length, head = module[0].weight.norm().item(), module[3].weight.detach().clone()
    known: dict = {"module": module, "optimizer": torch.optim.Adam(module.parameters(), 0.1), "criterion": nn.CrossEntropyLoss()}
    known |= {"x": torch.randn(4, 8), "y": torch.tensor([0, 1, 2, 0]), "example_input": torch.randn(2, 8)}
    exec("from plasticity_rl.interventions import NormalizeAndProject, ReDo\n" + shown(page)[block], known)
    if page == "README.md":
        assert "L2Init" in repr(known["plan"]) and known["plan"].ticks == {"update": 1, "task": 0}
        return
    assert known["plan"].ticks == {"update": 1, "task": 1}
    torch.testing.assert_close(module[0].weight.norm().item(), length, rtol=1e-6, atol=0)  # NaP acted
    assert (module[3].weight != head).any(1).all()


def test_a_method_in_thirty_lines_and_one_of_ones_own() -> None:
    inside, outside, *others = shown("CONTRIBUTING.md")
    assert max(len(code.strip().splitlines()) for code in (inside, outside, *others)) <= 32
    network = Network(MLP(width=8, depth=2), (5,), 3)
    params = {name: 10 * param for name, param in network.init(torch.Generator().manual_seed(0)).items()}
    known: list[dict] = [{"__name__": "plugin"}, {"__name__": "plugin"}]
    for code, names in zip((inside, outside), known, strict=True):
        exec(code, names)
    clipped, _ = known[0]["WeightClipping"]().project(params, {}, network.layers)
    shrunk, _ = known[1]["Shrink"](factor=0.5).project(params, {}, network.layers)
    for name, param in params.items():
        hidden = name in ("hidden0.weight", "hidden1.weight")
        bound = 2 / param.shape[1] ** 0.5 if hidden else torch.inf
        assert torch.equal(clipped[name], param.clip(-bound, bound))
        assert torch.equal(shrunk[name], param * (0.5 if hidden else 1.0))
    assert (clipped["hidden0.weight"] != params["hidden0.weight"]).any()


PACKAGES = ("plasticity_rl", "envs", "agents", "launch", "analysis")


def test_the_tree_names_every_room_and_nothing_that_is_not_there() -> None:
    tree = re.search(r"```\n(.*?)```", (ROOT / "docs/tree.md").read_text(), re.DOTALL)
    assert tree
    named: set[str] = set()
    package = ""
    for line in tree[1].splitlines():
        paths = line.strip().partition("  ")[0].split()
        if line[0] == " ":
            named |= {package + each for each in paths}
        else:
            (package,) = paths
    assert all((ROOT / each).exists() for each in named), [each for each in named if not (ROOT / each).exists()]
    rooms = {f"{package}/{room.parent.name}/" for package in PACKAGES for room in (ROOT / package).glob("*/__init__.py")}
    assert rooms <= named, rooms - named


def test_every_link_leads_to_a_file() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 180


def test_the_version_is_the_same_everywhere() -> None:
    files = {"pyproject.toml": '\nversion = "{}"\n', "CITATION.cff": "\nversion: {}\n", "CHANGELOG.md": "\n## {} "}
    for file, line in files.items():
        assert line.format(plasticity_rl.__version__) in (ROOT / file).read_text(), file


def test_every_path_that_a_page_names_is_there() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        for path in re.findall(r"\b(?:plasticity_rl|envs|agents|launch|analysis|tests|examples)(?:/[\w.-]*\w)+(?![<\w])", page.read_text()):
            assert (ROOT / path).exists(), f"{page.name}: {path}"
