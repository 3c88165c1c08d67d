"""`plasticity_rl.check`: is this network still plastic? Measured now, beside newly initialised twins, without retraining."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from plasticity_rl.checks import UsageError
from plasticity_rl.checkup import trainability
from plasticity_rl.checkup.measures import Compared, Loss, compared, measure
from plasticity_rl.checkup.network import Args, Examined, examined
from plasticity_rl.checkup.trainability import Learned, Task
from plasticity_rl.checkup.verdict import Verdict, decide
from plasticity_rl.networks.layers import Params

GRADIENTS = 2
"""random functions whose gradients are measured"""
FEWEST = 2
"""twins and pairs at least: one has no spread"""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Checkup:
    """Results of a check; `print` shows them, `json()` is for programs."""

    name: str
    verdict: Verdict
    trainability: Learned
    """how well random functions are learned, beside twins"""
    targets: Learned | None
    """how well the person's own targets are learned, beside twins"""
    measures: tuple[Compared, ...]
    notes: tuple[str, ...]
    """what is assumed, a line each"""
    examples: int
    learning_rate: float

    def json(self) -> dict[str, Any]:
        """All results as plain lists, numbers and texts."""
        learned = {"random functions": self.trainability} | ({"own targets": self.targets} if self.targets else {})
        return {
            "name": self.name,
            "verdict": asdict(self.verdict),
            "trainability": {
                what: {
                    "ratio": each.final._asdict(),
                    "area": each.area._asdict(),
                    "learned": each.own,
                    "learned_fresh": each.fresh,
                    "updates": each.updates,
                    "learning_rate": self.learning_rate,
                }
                for what, each in learned.items()
            },
            "measures": [asdict(each) | {"fresh": each.fresh, "stands_out": each.stands_out} for each in self.measures],
            "notes": list(self.notes),
            "examples": self.examples,
        }

    def __str__(self) -> str:
        from plasticity_rl.checkup.text import table

        return table([self], 80)


def check(
    module: nn.Module,
    inputs: Tensor | tuple[Tensor, ...],
    *,
    fresh: Callable[[], nn.Module] | None = None,
    twins: int = 5,
    targets: Tensor | None = None,
    actions: Sequence[int] = (),
    pairs: int | None = None,
    updates: int | None = None,
    learning_rate: float = 1e-3,
    seed: int = 0,
    name: str = "network",
    progress: Progress | None = None,
) -> Checkup:
    """Check whether a trained network can still learn, beside newly initialised twins of its architecture; the module stays as it is.

        print(plasticity_rl.check(policy, observations, fresh=make_policy, actions=(4,)))

    `inputs` is a batch of what the network sees, some hundred examples: a tensor, or a tuple of arguments; it is moved to the module's
    device. `fresh()` makes a new, untrained module; without it the `reset_parameters()` of a copy's layers are called, and the result says
    that this initial scale is assumed.

    Units, ranks, norms, gradients and the tangent kernel are measured in the network and in `twins` new ones. Copies and twins then learn
    random functions in `pairs`: each function is another new network's output, at the scale of the learner's own (training/probes.py,
    `scaled`), and what is learned are differences between examples (trainability.py), by Adam at `learning_rate` in batches of 32. The
    trainability ratio is the share of variance that the copies have learned in the last tenth of the `updates`, over the twins', with a t
    interval over pairs. By default there are 500 updates of 10 pairs, fewer of costly networks: some seconds for common MLPs.

    `targets` are your own: numbers (examples,) or (examples, outputs), or class indices (examples,); they have a ratio of their own.
    `actions` are the numbers of actions whose logits the outputs are, such as (4,), or (3, 2) for two choices: entropy is then judged,
    too. The verdict is non-inferiority at the margins of margins.py.

    Batch norms use each batch's statistics, dropout is off, and a module whose layers cannot be traced has no metrics of units; `notes`
    says so. Raises UsageError if the module fails on the inputs, or its twins are of another architecture.
    """
    args = inputs if isinstance(inputs, tuple) else (inputs,)
    _check_numbers(args, targets, twins, pairs, updates, learning_rate)
    device = next((param.device for param in module.parameters()), args[0].device)
    args, targets = tuple(each.to(device) for each in args), None if targets is None else targets.to(device)
    network = examined(module, args, fresh, seed)
    with torch.no_grad():
        outputs = network.outputs(network.params, args)
    if not torch.isfinite(outputs).all():
        raise FloatingPointError(f"{name}: outputs are infinite or not a number")
    if actions and sum(actions) != outputs.shape[1]:
        raise UsageError(f"actions={tuple(actions)} have {sum(actions)} logits, and the network {outputs.shape[1]} outputs")
    usual_updates, usual_pairs = trainability.budget(network, args)
    updates, pairs = updates or usual_updates, pairs or usual_pairs
    tell = progress or (lambda *_: None)
    measured = []
    for number, params in enumerate([network.params, *(network.twin(which) for which in range(twins))]):
        tell(f"{name}: measuring", number, twins + 1)
        measured.append(measure(network, params, args, _losses(network, params, args), actions))
    found = compared(measured[0], measured[1:])

    def learn(task: Task, what: str) -> Learned:
        def watch(made: int, of: int) -> None:
            tell(f"{name}: {what}", made, of)

        return trainability.learn(network, args, task, updates, pairs, learning_rate, seed, watch)

    random = learn(trainability.teachers(network, args, pairs), "learning random functions")
    own = None if targets is None else learn(trainability.own_targets(targets, outputs.shape[1]), "learning your targets")
    verdict = decide(random, own, found, network.layers, bool(actions))
    return Checkup(name, verdict, random, own, found, network.notes, len(args[0]), learning_rate)


def _losses(network: Examined, params: Params, args: Args) -> list[Loss]:
    """Losses of the network at `params` on random functions, for its gradients."""
    with torch.no_grad():
        before = network.outputs(params, args)
        made = [trainability.scaled(before, network.outputs(network.twin(f"teacher {which}"), args)) for which in range(GRADIENTS)]

    def of(targets: Tensor, scales: Tensor) -> Loss:
        return lambda params, part: trainability.differences(
            network.outputs(params, tuple(arg[part] for arg in args)), targets[part], scales
        )

    return [of(*each) for each in made]


def _check_numbers(args: Args, targets: Tensor | None, twins: int, pairs: int | None, updates: int | None, rate: float) -> None:
    if not args or not all(isinstance(each, Tensor) and each.ndim > 0 for each in args):
        raise UsageError("inputs must be a tensor (examples, ...), or a tuple of such tensors")
    if len({len(each) for each in args}) > 1 or len(args[0]) < 2 * trainability.BATCH:
        raise UsageError(
            f"inputs must hold at least {2 * trainability.BATCH} examples, the same number in each, not {[len(each) for each in args]}"
        )
    for each in args:
        if each.is_floating_point() and not torch.isfinite(each).all():
            raise UsageError("inputs are infinite or not a number")
    if targets is not None and len(targets) != len(args[0]):
        raise UsageError(f"there are {len(args[0])} inputs, and {len(targets)} targets")
    for what, value, least in (("twins", twins, FEWEST), ("pairs", pairs, FEWEST), ("updates", updates, 10)):
        if value is not None and not least <= value <= 100_000:
            raise UsageError(f"{what} must lie in [{least}, 100000], not {value}")
    if not 0 < rate < 1:
        raise UsageError(f"learning_rate must lie in (0, 1), not {rate}")
