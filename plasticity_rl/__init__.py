"""Interventions, metrics and a lifted learner for the study of plasticity. Importing this imports nothing heavy."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plasticity_rl.checkup.examine import check as check

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "check":  # imports torch where it is first used
        from plasticity_rl.checkup.examine import check

        return check
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
