"""A claim at a scale: its selection runs, the settings chosen from them, and its reported runs, look by look."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from analysis.claims.gates import GATES
from analysis.claims.page import Choice
from analysis.claims.predicates import Verdict, verdict
from analysis.claims.results import CENSUS, Result, joined, read, record
from analysis.claims.verdicts import VERDICTS
from analysis.scores.learning_rates import LEAST, RateCurve, RatePoint
from analysis.scores.tuning import TUNED_ON, selection_score
from launch import process
from launch.claims.definition import SELECTED, SELECTORS, Arm, Claim, Scale, Values, added, cells, fill, placeholders
from launch.config.parse import experiment
from launch.run.store import Store
from launch.run.sweep import Said
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment
from plasticity_rl.records.folder import RunFolder

RECORD = {"moments", "factors", "layer_factors"}
Choices = Mapping[str, Choice]
"""arm's key -> its settings"""


@dataclass(frozen=True)
class Trial:
    """A claim at a scale, and the folder of its runs."""

    number: int
    claim: Claim
    scale_name: str
    folder: Path
    tuned_on: str = "lifetime"
    """rule by which settings are chosen"""

    @property
    def scale(self) -> Scale:
        return self.claim.scales[self.scale_name]

    @property
    def spent(self) -> Path:
        """File with the time that the claim took; exists after its first run."""
        return self.folder / f"claim{self.number}.json"

    def place(self, made: Experiment) -> RunFolder:
        """Folder of a run: the claims', or that of the sweep that trains this one's."""
        name = Path(self.claim.sweep).stem if self.claim.sweep else self.folder.name
        return Store(self.folder.parent, name).run(made.key)

    def searched(self) -> Mapping[str, Sequence[tuple[Values, Said]]]:
        """Arm -> cells of its grid. Arms with another arm's values, or with a single cell, are left out."""
        found = {
            arm.key: [(values, fill(self.scale, arm, values, SELECTORS, SELECTED)) for values in cells(self.claim, self.scale, arm)]
            for arm in self._free
        }
        return {key: each for key, each in found.items() if len(each) > 1}

    def choices(self) -> dict[str, Choice]:
        """Return the cell of each arm with the best mean score by the rule; cells with a non-finite loss are excluded. Raises
        UsageError."""
        searched, chosen = self.searched(), {}
        for arm in self._free:
            if arm.key not in searched:
                (values,) = cells(self.claim, self.scale, arm)
                chosen[arm.key] = Choice(values, {})
                continue
            values = [values for values, _ in searched[arm.key]]
            by_rule = [self._selection(experiment(said)) for _, said in searched[arm.key]]
            best = int(np.argmax([scores[self.tuned_on] for scores in by_rule]))
            if not np.isfinite(by_rule[best][self.tuned_on]):
                raise UsageError(f"claim {self.number}: no selection run of {arm.key} has finished in {self.folder}")
            scores = {rule: [each[rule] for each in by_rule] for rule in TUNED_ON}
            words = [", ".join(each.values()) for each in values]
            chosen[arm.key] = Choice(values[best], {rule: dict(zip(words, each, strict=True)) for rule, each in scores.items()})
        return chosen | {arm.key: Choice(chosen[arm.like].values, {}) for arm in self.claim.arms if arm.like}

    def _selection(self, made: Experiment) -> dict[str, float]:
        """Rule -> mean score of a selection run; -inf if it diverged."""
        if not self.place(made).is_done:
            return dict.fromkeys(TUNED_ON, -np.inf)
        curve = read(self.place(made).path).curve
        return {rule: float(selection_score(curve, rule).mean()) for rule in TUNED_ON}

    def common(self, choices: Choices) -> dict[str, Choice]:
        """The best cell of each arm among those with the claim's common values; the chosen one of an arm without them."""
        found = dict(choices)
        for key, alternatives in self.searched().items():
            words = {", ".join(values.values()): values for values, _ in alternatives if self.claim.common.items() <= values.items()}
            scores = choices[key].scores.get(self.tuned_on, {})
            if words:
                found[key] = Choice(words[max(words, key=lambda each: scores[each])], {})
        return found | {arm.key: Choice(found[arm.like].values, {}) for arm in self.claim.arms if arm.like}

    def reported(self, choices: Choices, look: int = 0) -> Mapping[str, Said]:
        """Return arm -> the run of the members that a look adds. An arm that needs another arm's record is left out until that run is
        done; the record is that of the first look."""
        members, seed = added(self.scale.looks)[look]
        first, first_seed = added(self.scale.looks)[0]
        said = {arm.key: fill(self.scale, arm, choices[arm.key].values, members, seed) for arm in self.claim.arms if not needs_record(arm)}
        for arm in self.claim.arms:
            if not needs_record(arm):
                continue
            source = next(each for each in self.claim.arms if each.key == arm.like)
            original = experiment(fill(self.scale, source, choices[arm.like].values, first, first_seed))
            if self.place(original).is_done:
                values = {**choices[arm.key].values, **recorded(original, self.place(original))}
                said[arm.key] = fill(self.scale, arm, values, members, seed)
        return said

    def results(self, choices: Choices, look: int = 0) -> dict[str, Result]:
        """Return arm -> scores of all members up to a look, in the claim's order. Raises UsageError if a run is unfinished."""
        found: dict[str, list[Result]] = {arm.key: [] for arm in self.claim.arms}
        for each in range(look + 1):
            said = self.reported(choices, each)
            for arm in self.claim.arms:
                if arm.key not in said or not self.place(made := experiment(said[arm.key])).is_done:
                    raise UsageError(f"claim {self.number}: the reported run of {arm.key} has not finished in {self._where}")
                found[arm.key].append(self._read(made))
        return {key: joined(each) for key, each in found.items()}

    def _read(self, made: Experiment) -> Result:
        place = self.place(made)
        result = read(place.path)
        return replace(result, measures=result.measures | {CENSUS: census(made, place)}) if self.claim.census else result

    @property
    def _where(self) -> str:
        if not self.claim.sweep:
            return str(self.folder)
        command = shlex.join([*process.program(), "sweep", self.claim.sweep])
        return f"{self.folder.parent / Path(self.claim.sweep).stem}; `{command}` trains it"

    def verdict(self, choices: Choices, looks: int) -> tuple[Verdict, dict[str, Result]]:
        """The verdict after some looks, and the results of all members. Raises UsageError if a run is unfinished."""
        results = {self.scale.looks[look]: self.results(choices, look) for look in range(looks)}
        return verdict(GATES[self.number], VERDICTS[self.number], results, self.scale.looks), list(results.values())[-1]

    def looks_made(self, choices: Choices) -> int:
        """Number of looks whose runs are all done."""
        for look in range(len(self.scale.looks)):
            said = self.reported(choices, look)
            if len(said) < len(self.claim.arms) or not all(self.place(experiment(each)).is_done for each in said.values()):
                return look
        return len(self.scale.looks)

    def rate_curves(self) -> dict[str, list[RateCurve]]:
        """Panel -> each arm's score against learning rate in the selection runs, at the best of its other values for each rate."""
        found: dict[str, list[RateCurve]] = {}
        searched = self.searched()
        for arm in (arm for arm in self._free if arm.key in searched):
            points = list(self._best_by_rate([experiment(said) for _, said in searched[arm.key]]))
            if len(points) >= LEAST:
                found.setdefault(arm.panel, []).append(RateCurve(arm.name, arm.words.get("chain") == ["reset"], tuple(points)))
        return found

    def _best_by_rate(self, cells: Sequence[Experiment]) -> Iterator[RatePoint]:
        """The best cell at each rate; NaN at a rate whose runs all diverged."""
        rates = [cast(Any, made.schedule).rate for made in cells]  # every schedule has one
        curves: dict[float, list[np.ndarray]] = {rate: [] for rate in rates}
        for rate, made in zip(rates, cells, strict=True):
            if self.place(made).is_done:
                curves[rate].append(read(self.place(made).path).curve)
        for rate in sorted(curves):
            diverged = np.full((SELECTORS, 1, 1), np.nan)
            yield RatePoint(rate, max(curves[rate], key=lambda curve: selection_score(curve).mean(), default=diverged))

    @property
    def _free(self) -> list[Arm]:
        return [arm for arm in self.claim.arms if not arm.like]


def needs_record(arm: Arm) -> bool:
    return bool(RECORD & placeholders(arm.words))


def recorded(made: Experiment, run: RunFolder) -> Values:
    """Return the ratios of initial to current norm of a run's hidden weights, as words: by layer, and their geometric mean."""
    updates, lengths = record(run.path)
    born = born_lengths(made)
    factors = {layer: [1.0, *(length / each for each in lengths[layer])] for layer, length in born.items() if layer in lengths}
    common = np.exp(np.mean([np.log(each) for each in factors.values()], axis=0))
    return {
        "moments": "+".join(map(str, [0, *updates])),
        "factors": "+".join(f"{factor:.5g}" for factor in common),
        "layer_factors": "+".join(f"{factor:.5g}" for each in factors.values() for factor in each),
    }


def born_lengths(made: Experiment) -> dict[str, float]:
    """Return each layer's weight norm before the first update, mean over members."""
    from plasticity_rl.interventions import assemble
    from plasticity_rl.metrics.norms import weight_norm
    from plasticity_rl.training.learner import Learner
    from plasticity_rl.training.lift import lift

    network, optimizer = assemble(made.network, made.optimizer, made.chain, made.benchmark.inputs, made.agent.heads(made.benchmark))
    learner = Learner(network, lambda params, batch: None, optimizer, made.chain, made.members, made.seed, compile=False)  # type: ignore[arg-type, return-value]
    lengths = lift(lambda params: weight_norm(params, network.layers))(learner.net.params)
    return {layer: float(length.mean()) for layer, length in lengths.items()}


def census(made: Experiment, run: RunFolder) -> np.ndarray:
    """Share of hidden units that are dead on all training images, mean over layers, in the run's last checkpoint: (members, 1)."""
    import torch

    from launch.checkpoints.play import find_checkpoint
    from launch.checkpoints.probe import read_learner
    from plasticity_rl.metrics.units import dead_fraction
    from plasticity_rl.records import checkpoint
    from plasticity_rl.training.lift import lift

    learner = read_learner(made, checkpoint.read(find_checkpoint(run, None)), "cpu")
    benchmark = cast(Any, made.benchmark)  # one of images
    images = torch.from_numpy(benchmark.load()[0][: benchmark.examples].copy())
    raw = learner.features(learner.net.params, images.expand(made.members, *images.shape), raw=True)
    hidden = [lift(dead_fraction)(units) for layer, units in raw.items() if layer.startswith("hidden")]
    return torch.stack(hidden).mean(0).numpy()[:, None]
