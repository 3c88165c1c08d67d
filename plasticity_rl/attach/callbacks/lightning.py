"""Methods and metrics in Lightning's Trainer: `pip install 'plasticity-rl[lightning]'`."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer  # pyright: ignore[reportMissingImports]

from plasticity_rl.attach.chains import chain_of
from plasticity_rl.attach.session import Session
from plasticity_rl.checks import UsageError, choose
from plasticity_rl.interventions.base import Intervention, Refresh


class PlasticityCallback(Callback):
    """Metrics of a network into every logger of the trainer, and methods after each step of its optimizer.

        Trainer(callbacks=[PlasticityCallback("l2-init", "redo:tau=0.1", network="net")]).fit(module)

    `network` is the submodule that `training_step` calls. The chain is attached on the first batch that passes through it; for automatic
    optimization with one optimizer. A penalty's gradient is added before the gradient is clipped. Metrics are
    `plasticity/dormant_fraction` and so on (docs/metrics.md), of the batch that was just learned from, by layer too, and for a newly
    initialised network (`_fresh`). Checkpoints hold the state of the methods. Where the task changes, call `task_boundary()`.
    """

    def __init__(self, *chain: str | Intervention, network: str, diagnose_every: int = 1000, seed: int = 0) -> None:
        """`chain`: methods in words, or made. `diagnose_every`: updates between two measurements, 0 for none."""
        self.chain, self.network, self.diagnose_every, self.seed = chain_of(chain), network, diagnose_every, seed
        self.session: Session | None = None
        self._loaded: dict[str, Any] = {}
        self._found: dict[str, float] = {}
        self._handle: Any = None

    def task_boundary(self) -> tuple[Refresh, ...]:
        """Tell the chain that the task changes. Returns the methods that refreshed."""
        return () if self.session is None else self.session.task_boundary()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if len(trainer.optimizers) != 1 or not pl_module.automatic_optimization:
            raise UsageError(
                f"PlasticityCallback needs automatic optimization with one optimizer, not {len(trainer.optimizers)} or manual steps: use "
                "plasticity_rl.attach in training_step"
            )
        _check_alone(self.chain, trainer.world_size)
        modules = dict(pl_module.named_modules())
        module = modules[choose("network, a submodule,", self.network, list(modules)[1:])]
        optimizer = trainer.optimizers[0]
        session = self.session = Session(module, optimizer, self.chain, self.diagnose_every, self.seed)
        if self._loaded:
            session.load_state_dict(self._loaded)

        def stepped(*_: Any) -> None:
            session.after_step()
            self._found |= session.metrics()

        self._handle = optimizer.register_step_post_hook(stepped)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer) -> None:
        if self.session is not None:
            self.session.before_step()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        found, self._found = {f"plasticity/{name}": value for name, value in self._found.items()}, {}
        for logger in trainer.loggers if found else ():
            logger.log_metrics(found, step=trainer.global_step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.session is not None:
            self.session.detach()
            self._handle.remove()

    def state_dict(self) -> dict[str, Any]:
        return self._loaded if self.session is None else self.session.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._loaded = state_dict


def _check_alone(chain: tuple[Intervention, ...], processes: int) -> None:
    """Methods that look at a batch would do something else in each process."""
    if chain and processes > 1:
        raise UsageError(
            f"methods in {processes} processes would see different batches, and networks would part: train in one, or measure only"
        )
