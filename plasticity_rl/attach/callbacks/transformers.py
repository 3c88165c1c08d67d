"""Methods and metrics in Hugging Face's Trainer: `pip install 'plasticity-rl[transformers]'`."""

import copy
from typing import Any

from torch import nn
from transformers import PreTrainedModel, TrainerCallback  # pyright: ignore[reportMissingImports]

from plasticity_rl.attach.chains import chain_of
from plasticity_rl.attach.diagnosis import of_network
from plasticity_rl.attach.session import Session
from plasticity_rl.checks import UsageError
from plasticity_rl.interventions.base import Intervention, Refresh


class PlasticityCallback(TrainerCallback):  # pyright: ignore[reportGeneralTypeIssues]
    """Metrics of a trainer's model into its logs, and methods after each step of its optimizer.

        trainer = Trainer(model, arguments, train_dataset=data)
        trainer.add_callback(PlasticityCallback(trainer, "l2-init", diagnose_every=100))
        trainer.train()

    The chain is attached on the first batch. A penalty's gradient is added after the gradient was clipped. New weights are those of a new
    model of the same configuration. Metrics are `plasticity/weight_norm` and so on (docs/metrics.md), of the batch that was just learned
    from, and for a new model (`_fresh`); those of single layers are in `measured`, as logs are printed in one line. Models whose layers
    cannot be traced have no metrics of units, and `session.diagnosis.note` says why. A run that is resumed attaches the chain anew. Where
    the task changes, call `task_boundary()`.
    """

    def __init__(self, trainer: Any, *chain: str | Intervention, diagnose_every: int = 1000, seed: int = 0) -> None:
        """`chain`: methods in words, or made. `diagnose_every`: updates between two measurements, 0 for none."""
        self.trainer, self.chain, self.diagnose_every, self.seed = trainer, chain_of(chain), diagnose_every, seed
        self.session: Session | None = None
        self.measured: dict[str, float] = {}
        """the last metrics, also by layer"""
        self._found: dict[str, float] = {}

    def task_boundary(self) -> tuple[Refresh, ...]:
        """Tell the chain that the task changes. Returns the methods that refreshed."""
        return () if self.session is None else self.session.task_boundary()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.chain and max(args.world_size, args.n_gpu) > 1:
            raise UsageError(
                "methods in several processes would see different batches, and models would part: train in one, or measure only"
            )
        model, optimizer = kwargs["model"], kwargs["optimizer"]
        optimizer = getattr(optimizer, "optimizer", optimizer)  # accelerate's own is around torch's

        def fresh() -> nn.Module:
            return type(model)(copy.deepcopy(model.config)).to(model.device)

        made = fresh if isinstance(model, PreTrainedModel) else None
        self.session = Session(model, optimizer, self.chain, self.diagnose_every, self.seed, made)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.session is not None:
            self.session.before_step()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.session is not None:
            self.session.after_step()
            self._found |= (found := self.session.metrics())
            self.measured = found or self.measured

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        found, self._found = self._found, {}
        if found:
            self.trainer.log({f"plasticity/{name}": value for name, value in of_network(found).items()})

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.session is not None:
            self.session.detach()
