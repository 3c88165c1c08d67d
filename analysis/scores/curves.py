"""The curve of one member over one visit: its score in each of several equal windows of the budget.

- `online` rows are means over the updates since the previous row. A window's score is their mean, weighted by the updates in the window,
  so the area is the update-weighted mean over the visit.
- `return` rows are finished episodes. A window's score is the mean return of the episodes that ended in it. A window without one repeats
  the previous score; windows before the first finished episode are missing, and the area is the mean over the others.
- `cut` rows, unfinished episodes, are never scored.
"""

import numpy as np


def online_curve(ends: np.ndarray, values: np.ndarray, start: int, stop: int, windows: int) -> np.ndarray:
    """Update-weighted mean in each window, (windows,). `values[i]` is the mean from `ends[i - 1]`, first from `start`, to `ends[i]`."""
    ends = np.concatenate([[start], ends])
    integral = np.concatenate([[0.0], np.cumsum(np.diff(ends) * values)])
    edges = np.linspace(start, stop, windows + 1)
    return np.diff(np.interp(edges, ends, integral)) * windows / (stop - start)


def _window(ends: np.ndarray, start: int, stop: int, windows: int) -> np.ndarray:
    """The window in which each episode ended; a window includes its end. Episodes beyond the budget count in the last window."""
    return np.clip(-((start - ends) * windows // (stop - start)) - 1, 0, windows - 1)


def return_curve(ends: np.ndarray, values: np.ndarray, start: int, stop: int, windows: int) -> np.ndarray:
    """Mean return of the episodes that ended in each window, (windows,); carried forward over empty windows, NaN before the first episode
    end."""
    window = _window(ends, start, stop, windows)
    count = np.bincount(window, minlength=windows)
    means = np.bincount(window, values, minlength=windows) / np.maximum(count, 1)
    latest = np.maximum.accumulate(np.where(count > 0, np.arange(windows), -1))
    return np.where(latest >= 0, means[latest], np.nan)


def empty_windows(ends: np.ndarray, start: int, stop: int, windows: int) -> int:
    """The number of windows in which no episode ended."""
    return windows - len(np.unique(_window(ends, start, stop, windows)))
