"""Settings of how and where experiments run."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from plasticity_rl.checks import Interval

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Execution:
    """Execution settings: not part of an experiment, its key, or its random numbers."""

    device: Device = "auto"
    """auto uses a GPU if there is one"""
    eager: bool = False
    """do not compile updates"""
    deterministic: bool = False
    """use a GPU's deterministic algorithms alone, which are slower; on processors runs repeat themselves anyway"""
    other_code: bool = False
    """resume runs that were started by other code"""
    at_once: Annotated[int, Interval("[1, 100000]")] = 256
    """approximate maximum of members trained as one in this process; 1 trains every run separately"""
    isolate: bool = False
    """step environments in processes of their own, begun anew when one crashes or does not answer"""
    patience: Annotated[float, Interval("(0, inf)")] = 300.0
    """seconds that a step of the environments may take; then the run ends, or with --isolate they are begun anew"""
    address: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT", help_behavior_hint="(default: one is started here)")] = None
    """address of the Ray cluster to join; `auto` finds one on this machine"""
    cpus: Annotated[float, Interval("(0, 4096]")] = 1.0
    """processors of each run on Ray"""
    gpus: Annotated[float, Interval("[0, 64]")] = 0.0
    """GPUs of each run on Ray, or a share of one"""
    retries: Annotated[int, Interval("[0, 1000]")] = 3
    """restarts from the last checkpoint of a run on Ray whose worker was lost"""

    @property
    def device_on_ray(self) -> str:
        """Device of a run on a Ray worker."""
        return "cuda" if self.gpus else "cpu"
