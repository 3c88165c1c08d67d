"""Import order: plasticity_rl <- envs <- agents <- launch, and analysis beside it, which runs without torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "plasticity_rl": {"plasticity_rl"},
    "envs": {"plasticity_rl", "envs"},
    "agents": {"plasticity_rl", "envs", "agents"},
    "launch": {"plasticity_rl", "envs", "agents", "launch", "analysis"},
    "analysis": {
        "analysis",
        *(f"plasticity_rl.{name}" for name in ("records.folder", "records.events", "records.spec", "checks", "files", "experiment")),
        "plasticity_rl.margins",
        "plasticity_rl.metrics.catalogue",
    },
}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {f"{node.module}.{each.name}" for each in node.names}
    return found


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_run_one_way(package: str) -> None:
    assert files(package)
    for path in files(package):
        for name in imports(path):
            if name.partition(".")[0] in MAY_IMPORT:
                allowed = any(name == each or name.startswith(each + ".") for each in MAY_IMPORT[package])
                assert allowed, f"{path.relative_to(ROOT)} imports {name}"


# The layers of each package or folder, from the bottom up: a file imports from earlier layers and from its own.
ROOMS = {
    "plasticity_rl": "synonyms processor seeds checks margins files noise networks plugins records optim metrics interventions registry "
    "words experiment training attach checkup testbed __main__",
    "envs": "sequences supervised reinforcement",
    "envs/reinforcement": "backends base isolation attributes shifts worlds bandit image_mdp ids control minatar procgen atari envpool "
    "gymnasium mujoco continual_world",
    "agents": "data heads gaussian policies base acting diagnostics loops supervised dqn pqn ppo impala actor_critic sac td3",
    "launch": "output process signals columns execution config sweeps ray_cluster tracking run checkpoints check cluster claims doctor "
    "commands bench __main__",
    "analysis": "statistics format data scores figures published mechanisms report claims compare",
}


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_import_downwards(package: str) -> None:
    order, above = ROOMS[package].split(), package.replace("/", ".") + "."
    found = {path.relative_to(ROOT / package).parts[0].removesuffix(".py") for path in files(package)} - {"__init__"}
    assert found == set(order), "a room is missing in ROOMS, or there no more"
    for path in files(package):
        own = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
        for name in imports(path):
            if name.startswith(above) and own != "__init__":
                other = name.removeprefix(above).partition(".")[0]
                assert other not in order or order.index(other) <= order.index(own), f"{path.relative_to(ROOT)} imports {name}"


def loaded(statement: str) -> set[str]:
    """The top-level packages in memory after a statement in a new interpreter."""
    code = f"{statement}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.process
def test_analysis_needs_neither_torch_nor_ray() -> None:
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files("analysis") if path.name != "__init__.py"]
    assert not loaded("\n".join(f"import {name}" for name in modules)) & {"torch", "ray", "envpool", "ale_py"}


@pytest.mark.process
def test_descriptions_of_runs_need_no_torch() -> None:
    library = "plasticity_rl, plasticity_rl.files, plasticity_rl.records.folder, plasticity_rl.experiment, plasticity_rl.optim.schedules"
    light = loaded(f"import {library}, envs.sequences, envs, agents")
    assert not light & {"torch", "numpy", "ray", "envpool", "tyro"}


@pytest.mark.process
def test_the_library_needs_torch_alone() -> None:
    own = [path for path in files("plasticity_rl") if path.name != "__init__.py" and path.parent.name != "callbacks"]
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in own]
    heavy = loaded("\n".join(f"import {name}" for name in modules))
    assert "torch" in heavy and not heavy & {"ray", "envpool", "ale_py", "tyro", "gymnasium", "pandas", "matplotlib", "envs", "agents"}


@pytest.mark.process
def test_the_command_line_is_parsed_before_anything_heavy_is_imported() -> None:
    assert not loaded("import launch.__main__, launch.config.parse, launch.run.sweep") & {
        "torch",
        "ray",
        "envpool",
        "pandas",
        "matplotlib",
        "sklearn",
    }
