"""Agents that learn from rewards, after many visits: can their networks fit, do they explore, do they get a gradient, had they the time?

A network that has lost its plasticity learns less of random functions than an untrained one does. A policy whose entropy is gone draws one
action for ever: it learns nothing from others, whatever its network could learn. A policy that mixes random actions into a saturated
softmax, or bounds saturated logits, draws the others but learns nothing from them. And a budget in which even an agent that starts over
learns nothing says nothing of plasticity. Each ends in a poor return, and they need other cures. All numbers are of the second half of each
of the last visits, means over members.

*Cannot fit*: the share of variance that copies of the network learn of a probe, 1 less the final loss and at least 0, is below FITS of an
untrained network's, for the policy's or the value's outputs, or for those of the one network of a value-based agent. The probe is `scaled`,
which asks for functions of the size of the network's own outputs: a saturated policy's are so large that within a probe's budget `teacher`
mostly measures how fast they shrink; older runs of value-based agents have `teacher` alone. *Does not explore*, of policy-gradient agents:
entropy below EXPLORES of an untrained network's on the same observations. *Gets no gradient*, of those that explore: the policy's Fisher
information in the network's outputs is below PASSES of an untrained network's; older runs have not measured it. Each holds if the whole 95%
interval of the ratio of means over members lies on that side; it is undecided if the threshold lies within. *Had no time*: neither the
chain nor its control scores above the floor in these visits. plasticity_rl/margins.py has the thresholds.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.data.load import Loaded
from analysis.scores.ratios import UNLEARNED, own_control, plain_control
from analysis.scores.setting import ChainScores, Setting
from analysis.scores.verdict import first_and_last
from analysis.statistics.intervals import Estimate, difference, estimate, mean
from plasticity_rl.margins import EXPLORES, FITS, PASSES

ENTROPY, SMALLEST, SCALE, INFORMATION = "policy_entropy", "smallest_probability", "logit_scale", "policy_information"
PROBES = {"policy": "probe_policy", "value": "probe_value", "network": "probe_final"}
"""whose outputs are probed -> name in metrics.csv; `network` of agents with one kind of output"""
TARGETS = ("scaled", "teacher")
"""probes that serve, the first that there is"""


@dataclass(frozen=True)
class Policy:
    """State of one chain's agents at the end."""

    label: str
    fresh_control: bool
    entropy: Estimate
    """nats; undefined for value-based agents, like the next four"""
    share: Estimate
    """entropy over an untrained network's"""
    smallest: Estimate
    """smallest action probability"""
    scale: Estimate
    """standard deviation of centred logits"""
    information: Estimate
    """Fisher information of the policy over an untrained network's; undefined in older runs, too"""
    probes: dict[str, Estimate]
    """policy and value (the mean of several critics), or network -> share learned of the probe over an untrained network's; empty without
    probes"""
    still: int
    """members that do not explore, by their own share"""
    samples: bool
    """whether actions are drawn from a policy, whose entropy is known"""
    had_no_time: bool

    @property
    def diagnosis(self) -> str:
        """`cannot fit`, `does not explore`, `gets no gradient`, two of them, or `can fit and explores`; what is undecided or not known, and
        whether there was time."""
        late = ["had no time: its control did not learn within a visit either"] * self.had_no_time
        if self.samples and not self.share.defined:
            return "; ".join([*late, f"not known: {self.share.note}"])
        explores, fits = self.share.side(EXPLORES), {network: found.side(FITS) for network, found in self.probes.items()}
        stuck = [network for network, found in fits.items() if found == -1]
        able = bool(fits) and set(fits.values()) == {1}
        which = f" ({' and '.join(stuck)})" * (len(self.probes) > 1)
        said = [f"cannot fit{which}"] * bool(stuck) + ["does not explore"] * (self.samples and explores == -1)
        passes = self.information.side(PASSES) if self.information.defined else 1
        said += ["gets no gradient"] * (explores == 1 and passes == -1)
        said = said or [*["can fit"] * able, *["explores"] * (explores == 1)]
        open_ = [f"undecided whether it explores: {self.still} of {self.share.members} members do not"] * (self.samples and explores == 0)
        open_ += ["undecided whether it gets a gradient"] * (explores == 1 and passes == 0)
        open_ += ["not probed"] if not fits else ["undecided whether it can fit"] * (not stuck and not able)
        return "; ".join(filter(None, [*late, " and ".join(said), *open_]))

    @property
    def word(self) -> str:
        """The diagnosis in a word or two."""
        if self.had_no_time:
            return "had no time"
        found = [words for words in ("cannot fit", "does not explore", "gets no gradient", "not known") if words in self.diagnosis]
        found = found or ["can fit and explores"] * (self.diagnosis == "can fit and explores")
        if not self.samples:
            found += [words for words in ("can fit", "not probed") if words == self.diagnosis]
        return "both" if len(found) > 1 else next(iter(found), "undecided")


def ratio(own: np.ndarray, untrained: np.ndarray) -> np.ndarray:
    """Ratio of means over members and visits. (..., members, visits) twice -> (...)."""
    return mean(own) / mean(untrained)


def learned(losses: np.ndarray) -> np.ndarray:
    """Share of variance learned, at least 0, from losses in units of the variance."""
    return (1 - losses).clip(min=0)


def policies(loaded: Loaded, setting: Setting) -> tuple[Policy, ...]:
    """A row for each chain of an agent that learns from rewards, in the setting's order; none for other agents, and none of value-based
    agents that were not probed and had the time."""
    rows = loaded.metrics.loc[(loaded.metrics.setting == setting.spec.setting).to_numpy()]
    samples = bool((rows.name == ENTROPY).any())
    if setting.kind != "return":
        return ()
    if len(rows):
        rows = late(rows)
    found = tuple(_policy(rows.loc[(rows.label == chain.label).to_numpy()], setting, chain, samples) for chain in setting.compared)
    return found if samples or any(row.probes or row.had_no_time for row in found) else ()


def _policy(rows: pd.DataFrame, setting: Setting, chain: ChainScores, samples: bool) -> Policy:
    visits = first_and_last(setting)[1]
    entropy, untrained = (_levels(rows, setting, name)[:, visits] for name in (ENTROPY, f"{ENTROPY}_fresh"))
    apart = bool(rows.name.str.startswith(f"{PROBES['policy']}/").any())
    probes = {each: found for each in PROBES if (each != "network") == apart and (found := _probe(rows, setting, visits, each))}
    with np.errstate(divide="ignore", invalid="ignore"):
        still = entropy.mean(1) / untrained.mean(1) < EXPLORES
    return Policy(
        chain.label,
        chain.fresh_control,
        estimate(mean, entropy),
        _ratio(entropy, untrained),
        estimate(mean, _levels(rows, setting, SMALLEST)[:, visits]),
        estimate(mean, _levels(rows, setting, SCALE)[:, visits]),
        _ratio(*(_levels(rows, setting, name)[:, visits] for name in (INFORMATION, f"{INFORMATION}_fresh"))),
        probes,
        int(still.sum()),
        samples,
        _had_no_time(setting, chain, visits),
    )


def _ratio(own: np.ndarray, untrained: np.ndarray) -> Estimate:
    return estimate(ratio, own, untrained, denominator=untrained.mean(axis=1, keepdims=True))


def _probe(rows: pd.DataFrame, setting: Setting, visits: list[int], network: str) -> Estimate | None:
    """Share learned of the first of TARGETS that there is, over an untrained network's; None without any."""
    for target in TARGETS[: 1 if network != "network" else None]:
        own = _levels(rows, setting, f"{PROBES[network]}/{target}")[:, visits]
        fresh = _levels(rows, setting, f"{PROBES[network]}_fresh/{target}")[:, visits]
        there = np.isfinite(own).any(0)  # a visit that ends between two probes has none
        if there.any():
            return _ratio(learned(own[:, there]), learned(fresh[:, there]))
    return None


def _had_no_time(setting: Setting, chain: ChainScores, visits: list[int]) -> bool:
    """True if neither the chain nor its control is above the floor at these visits."""
    control = own_control(setting, chain) if not chain.fresh_control else plain_control(setting)
    if not control.name:
        control = plain_control(setting)
    if not all(control.reasons[visit].endswith(UNLEARNED) for visit in visits):
        return False
    floor = np.broadcast_to(setting.floor, chain.area.shape)
    return not estimate(difference, chain.area[:, visits], floor[:, visits]).exceeds(0.0)


def late(rows: pd.DataFrame) -> pd.DataFrame:
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
