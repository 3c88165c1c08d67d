"""Rules of selection: the share of a run's life whose mean score chooses a setting, on members whose seeds are not reported.

- `lifetime`: the whole life (Kumar et al. 2023, arXiv 2308.11958; C-CHAIN, Tang et al. 2025, arXiv 2506.00592).
- `10%`, `1%`: the first tenth, the first hundredth (Mesbahi et al. 2025): the score that someone sees who tunes for a short time and
  deploys for a long one.

The rules choose differently where plasticity is lost: a high rate leads early and ends low. All runs have their full length, so one set of
runs answers each rule.
"""

import numpy as np

TUNED_ON = {"lifetime": 1.0, "10%": 0.1, "1%": 0.01}
"""rule -> share of the life"""


def selection_score(curve: np.ndarray, tuned_on: str = "lifetime") -> np.ndarray:
    """Mean score of each member over the first share of its life, at least one window: (members, visits, windows) -> (members,).

    Windows without a score are left out; NaN for a member without any.
    """
    windows = curve.reshape(len(curve), -1)
    windows = windows[:, : max(1, round(TUNED_ON[tuned_on] * windows.shape[1]))]
    there = np.isfinite(windows)
    total = np.where(there, windows, 0.0).sum(axis=1)
    return np.where(there.any(axis=1), total / np.maximum(there.sum(axis=1), 1), np.nan)
