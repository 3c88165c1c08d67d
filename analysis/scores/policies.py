"""Policy-gradient agents after many visits: do they still explore, and can their networks still fit something new?

A policy whose entropy is gone draws one action for ever: it learns nothing from others, whatever its network could learn. A network that
has lost its plasticity learns less of random functions than an untrained one does. Either ends in a poor return, and they need other cures.
All numbers are of the second half of each of the last visits, means over members.

*Does not explore*: entropy below EXPLORES of an untrained network's on the same observations. *Cannot fit*: the share of variance that
copies of the network learn of the probe `scaled`, 1 less the final loss and at least 0, is below FITS of an untrained network's, for the
policy's or the value's outputs. That probe asks for functions of the size of the network's own outputs: a saturated policy's are so large
that within a probe's budget `teacher` mostly measures how fast they shrink. Each holds if the whole 95% interval of the ratio of means over
members lies on that side; it is undecided if the threshold lies within. Both thresholds are this project's.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.data.load import Loaded
from analysis.scores.setting import Setting
from analysis.scores.verdict import first_and_last
from analysis.statistics.intervals import Estimate, estimate, mean

EXPLORES = 0.02
"""share of an untrained network's entropy; with two actions, the other one is then drawn twice in a thousand steps"""
FITS = 0.8
"""share of what an untrained network learns"""
ENTROPY, SMALLEST, SCALE = "policy_entropy", "smallest_probability", "logit_scale"
PROBES = {"policy": "probe_policy", "value": "probe_value"}
TARGET = "scaled"


@dataclass(frozen=True)
class Policy:
    """State of one chain's policies at the end."""

    label: str
    fresh_control: bool
    entropy: Estimate
    """nats"""
    share: Estimate
    """entropy over an untrained network's"""
    smallest: Estimate
    """smallest action probability"""
    scale: Estimate
    """standard deviation of centred logits"""
    probes: dict[str, Estimate]
    """policy, value -> share learned of the probe over an untrained network's; empty without probes"""
    still: int
    """members that do not explore, by their own share"""

    @property
    def diagnosis(self) -> str:
        """`cannot fit`, `does not explore`, both or neither, and what is undecided or not known."""
        if not self.share.defined:
            return f"not known: {self.share.note}"
        explores, fits = self.share.side(EXPLORES), {network: found.side(FITS) for network, found in self.probes.items()}
        stuck = [network for network, found in fits.items() if found == -1]
        able = bool(fits) and set(fits.values()) == {1}
        said = [f"cannot fit ({' and '.join(stuck)})"] * bool(stuck) + ["does not explore"] * (explores == -1)
        said = said or (["neither"] if explores == 1 and able else ["explores"] * (explores == 1) + ["can fit"] * able)
        open_ = [f"undecided whether it explores: {self.still} of {self.share.members} members do not"] * (explores == 0)
        open_ += ["not probed"] if not fits else ["undecided whether it can fit"] * (not stuck and not able)
        return "; ".join(filter(None, [" and ".join(said), *open_]))

    @property
    def word(self) -> str:
        """The diagnosis in a word or two."""
        found = [words for words in ("cannot fit", "does not explore", "neither", "not known") if words in self.diagnosis]
        return "both" if len(found) > 1 else next(iter(found), "undecided")


def ratio(own: np.ndarray, untrained: np.ndarray) -> np.ndarray:
    """Ratio of means over members and visits. (..., members, visits) twice -> (...)."""
    return mean(own) / mean(untrained)


def learned(losses: np.ndarray) -> np.ndarray:
    """Share of variance learned, at least 0, from losses in units of the variance."""
    return (1 - losses).clip(min=0)


def policies(loaded: Loaded, setting: Setting) -> tuple[Policy, ...]:
    """A row for each chain of a policy-gradient agent, in the setting's order; none for other agents."""
    rows = loaded.metrics.loc[(loaded.metrics.setting == setting.spec.setting).to_numpy()]
    if not (rows.name == ENTROPY).any():
        return ()
    rows = _late(rows)
    return tuple(
        _policy(rows.loc[(rows.label == chain.label).to_numpy()], setting, chain.label, chain.fresh_control) for chain in setting.compared
    )


def _policy(rows: pd.DataFrame, setting: Setting, label: str, fresh_control: bool) -> Policy:
    visits = first_and_last(setting)[1]
    entropy, untrained = (_levels(rows, setting, name)[:, visits] for name in (ENTROPY, f"{ENTROPY}_fresh"))
    own = {network: _levels(rows, setting, f"{name}/{TARGET}")[:, visits] for network, name in PROBES.items()}
    fresh = {network: _levels(rows, setting, f"{name}_fresh/{TARGET}")[:, visits] for network, name in PROBES.items()}
    # A visit that ends between two probes has none.
    probed = {network: np.isfinite(own[network]).any(0) for network in PROBES}
    with np.errstate(divide="ignore", invalid="ignore"):
        still = entropy.mean(1) / untrained.mean(1) < EXPLORES
    return Policy(
        label,
        fresh_control,
        estimate(mean, entropy),
        _ratio(entropy, untrained),
        estimate(mean, _levels(rows, setting, SMALLEST)[:, visits]),
        estimate(mean, _levels(rows, setting, SCALE)[:, visits]),
        {each: _ratio(learned(own[each][:, there]), learned(fresh[each][:, there])) for each, there in probed.items() if there.any()},
        int(still.sum()),
    )


def _ratio(own: np.ndarray, untrained: np.ndarray) -> Estimate:
    return estimate(ratio, own, untrained, denominator=untrained.mean(axis=1, keepdims=True))


def _late(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the second half of each visit's updates."""
    ends = rows.groupby(["run", "visit"]).updates.max()
    starts = ends.groupby("run").shift(fill_value=0)
    halves = ((starts + ends) / 2).rename("half").reset_index()
    return rows.loc[(rows.updates > rows[["run", "visit"]].merge(halves, how="left").half.to_numpy()).to_numpy()]


def _levels(rows: pd.DataFrame, setting: Setting, name: str) -> np.ndarray:
    """A metric of each member in each visit, (pairs, visits): the mean over its rows; NaN without rows."""
    grid = np.full((len(setting.pairs), len(setting.spec.visits)), np.nan)
    places = {pair: place for place, pair in enumerate(setting.pairs)}
    found = rows.loc[(rows.name == name).to_numpy()].groupby(["seed", "member", "visit"]).value.mean()
    for (seed, member, visit), value in found.items():  # type: ignore[misc]
        grid[places[int(seed), int(member)], int(visit)] = value
    return grid
