"""Style of figures: one style, a fixed colour per chain, and files whose bytes depend only on the content.

Matplotlib's Figure is used directly, without pyplot and its global state. A report's SVG is drawn once and adapts to dark pages: it swaps
the colours of text, lines and the fresh control.
"""

import io
import warnings
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.statistics.aggregates import Intervals
from analysis.statistics.intervals import Estimate

INK, FAINT, CONTROL = "#24292f", "#d3d9e0", "#4c4f56"
DARK = {INK: "#dfe5ec", FAINT: "#3a424c", CONTROL: "#b4bac2", "#0072b2": "#5b8dff", "#56b4e9": "#8fd6ff"}
"""colour -> its counterpart on a dark page"""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
"""Okabe and Ito (2008), without black and yellow: distinguishable with any colour vision"""
NONE = "#d55e00"
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.2, 1.2, 1.2)))
MARKERS = ("o", "s", "^", "D")
WIDTH, NARROW = 8.4, 4.2
"""inches, of the report's figures and of those for phones"""


class Look(NamedTuple):
    """A chain's colour, line and marker, the same in all figures."""

    color: str
    linestyle: Any
    marker: str


class FigureFiles(NamedTuple):
    """A figure's files."""

    name: str
    alt: str
    """alternative text"""
    svg: bytes
    """vector image in the colours of the page that shows it"""
    png: bytes
    pdf: bytes
    narrow: bytes = b""
    """the vector image for phones, where there is one"""

    @property
    def files(self) -> dict[str, bytes]:
        """File name -> content."""
        return {f"{self.name}.png": self.png, f"{self.name}.pdf": self.pdf}


def looks(labels: Iterable[str], control: str | None) -> dict[str, Look]:
    """A look for each chain; the control is dark grey and dashed. With more chains than colours, dashes and markers distinguish them."""
    others = sorted(set(labels) - {control, "none"})
    colours = [colour for colour in COLOURS if colour != NONE]
    found = {
        label: Look(colours[number % len(colours)], DASHES[number // len(colours) % 4], MARKERS[number // len(colours) % 4])
        for number, label in enumerate(others)
    }
    found["none"] = Look(NONE, "-", "o")
    if control is not None:
        found[control] = Look(CONTROL, (0, (4, 2)), "o")
    return found


def style() -> AbstractContextManager[None]:
    """Context manager with the settings for making and saving figures."""
    return matplotlib.rc_context(
        {
            "axes.axisbelow": True,
            "axes.edgecolor": FAINT,
            "axes.grid": True,
            "axes.labelcolor": INK,
            "axes.labelsize": 9,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlecolor": INK,
            "axes.titlelocation": "left",
            "axes.titlesize": 9.5,
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "font.family": "DejaVu Sans",
            "font.size": 9,
            "grid.color": FAINT,
            "grid.linewidth": 0.6,
            "legend.frameon": False,
            "legend.labelcolor": INK,
            "lines.linewidth": 1.6,
            "lines.markersize": 3.5,
            "svg.fonttype": "path",
            "svg.hashsalt": "plasticity",
            "text.color": INK,
            "text.parse_math": False,
            "xtick.color": INK,
            "ytick.color": INK,
            "xtick.major.size": 0,
            "ytick.major.size": 0,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
        }
    )


def canvas(height: float, rows: int = 1, columns: int = 1, width: float = WIDTH, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure with its panels, row by row."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False, **options).flat)


def legend(figure: Figure, chains: dict[str, Look]) -> None:
    """One line for each chain, below all panels."""
    handles = [Line2D([], [], color=look.color, linestyle=look.linestyle, linewidth=2) for look in chains.values()]
    longest = max(map(len, chains), default=1)
    columns = max(1, min(len(chains), int(14 * figure.get_figwidth() // (longest + 9))))
    figure.legend(handles, list(chains), loc="outside lower center", ncols=columns, handlelength=2.4, columnspacing=1.6, fontsize=8.5)


def band(axes: Axes, x: np.ndarray, found: Intervals, look: Look, marker: str = "") -> None:
    """Draw a line with its intervals as a band."""
    axes.fill_between(x, found.low, found.high, color=look.color, alpha=0.16, linewidth=0)
    axes.plot(x, found.value, color=look.color, linestyle=look.linestyle, marker=marker)


def whisker(axes: Axes, height: float, found: Estimate, look: Look, hollow: bool = False) -> None:
    """A point with its horizontal interval."""
    if not found.defined:
        return
    if found.low is not None and found.high is not None:
        axes.hlines(height, found.low, found.high, color=look.color, linewidth=2.2, alpha=0.55)
    axes.plot(
        found.value, height, marker="o", markersize=6, color=look.color, markerfacecolor="none" if hollow else look.color, linestyle=""
    )


def render(name: str, alt: str, figure: Figure) -> FigureFiles:
    """Render the figure's files, without timestamps."""
    vector, pixels, print_ = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # found once, for all three
        figure.savefig(vector, format="svg", metadata={"Date": None, "Creator": None})
        figure.savefig(pixels, format="png", dpi=150, facecolor="white", metadata={"Software": None})
        figure.savefig(print_, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    return FigureFiles(name, alt, adaptive(vector.getvalue()), pixels.getvalue(), print_.getvalue())


def render_narrow(figure: Figure) -> bytes:
    """Render a figure for phones."""
    vector = io.BytesIO()
    figure.savefig(vector, format="svg", metadata={"Date": None, "Creator": None})
    return adaptive(vector.getvalue())


def adaptive(svg: bytes) -> bytes:
    """The same figure, with colours that follow the reader's light or dark colour scheme."""
    start = svg.index(b">", svg.index(b"<svg")) + 1
    named = {colour: f"--c{number}" for number, colour in enumerate(DARK)}
    body = svg[start:]
    for colour, name in named.items():
        body = body.replace(colour.encode(), f"var({name})".encode())
    light, dark = (
        "".join(f"{name}:{colour[which]};" for colour, name in zip(DARK.items(), named.values(), strict=True)) for which in (0, 1)
    )
    sheet = f"<style>svg{{{light}}}@media (prefers-color-scheme: dark){{svg{{{dark}}}}}</style>"
    return svg[:start] + sheet.encode() + body
