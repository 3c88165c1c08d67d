"""That agents learn: five members, compiled, with the settings that go with each agent on control problems. Minutes long."""

import numpy as np
import pytest

from launch.words import experiment
from tests.training import events, scores

pytestmark = pytest.mark.slow


def evaluated(benchmark: str, agent: str, frames: int, episodes: int) -> float:
    """The mean return of evaluations after the last step."""
    said = {"benchmark": f"{benchmark}:tasks=1,frames={frames}", "agent": agent, "members": 5, "checkpoint_every": frames}
    rows = scores(events(experiment(said | {"evaluate": episodes}), compile=True), "evaluation")
    assert len(rows) == 5 * episodes
    return float(np.mean([row.score for row in rows]))
