"""A chain and its diagnosis on one network of a framework, whose training loop calls hooks instead of being edited."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from plasticity_rl.attach.diagnosis import Diagnosis
from plasticity_rl.attach.plan import Plan, attach
from plasticity_rl.interventions.base import Refresh
from plasticity_rl.interventions.chain import Chain


class Session:
    """One module and its optimizer under a chain; `before_step` and `after_step` surround each step of the optimizer.

    The chain is attached on `example`, the module's arguments as a tuple, or on the first batch that the module learns from: one that
    passes in training mode with gradients. Raises UsageError there if it cannot be.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        chain: Chain,
        every: int,
        seed: int = 0,
        fresh: Callable[[], nn.Module] | None = None,
        example: tuple | None = None,
    ) -> None:
        self.module, self.updates = module, 0
        self.plan: Plan | None = None
        self.batch: tuple[tuple, dict[str, Any]] | None = None
        """(args, kwargs) of the last training pass"""
        self._optimizer, self._chain, self._every, self._seed, self._fresh = optimizer, chain, every, seed, fresh
        self._pending: dict[str, Tensor] | None = None
        self.diagnosis = Diagnosis(module, fresh, seed) if every else None
        """None if `every` is 0: it holds two copies of the network"""
        if example is not None:
            self._attach(example)

        def passed(called: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
            # a copy of the module carries this hook too
            if called is module and called.training and torch.is_grad_enabled():
                self.see(args, kwargs)

        self._handle = module.register_forward_pre_hook(passed, with_kwargs=True)

    def see(self, args: tuple, kwargs: dict[str, Any] | None = None) -> None:
        """Take a batch as the last training batch; called by the module itself if the loop calls the module."""
        batch = tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, (args, kwargs or {}))
        plan = self._attach(*batch) if self.plan is None else self.plan
        self.batch = plan.batch = batch

    def before_step(self) -> None:
        """Call when gradients are complete, before the optimizer's step."""
        if self.plan is not None:
            self.plan.add_penalty_gradient()

    def after_step(self) -> tuple[Refresh, ...]:
        """Call after the optimizer's step, before gradients are set to zero. Returns the methods that refreshed."""
        if self.plan is None:  # a step of others' gradients
            return ()
        self.updates += 1
        return self.plan.after_step()

    def metrics(self) -> dict[str, float]:
        """Metrics after every `every`-th update; else, and if `every` is 0, none."""
        if self.diagnosis is None or self.batch is None or self.updates % self._every:
            return {}
        return self.diagnosis.measure(*self.batch)

    def task_boundary(self) -> tuple[Refresh, ...]:
        """Tell the chain that the task changes. Returns the methods that refreshed."""
        return () if self.plan is None else self.plan.task_boundary()

    def state_dict(self) -> dict[str, Tensor]:
        """State to save beside the module's and the optimizer's."""
        plan = {} if self.plan is None else self.plan.state_dict()
        return {"updates": torch.tensor(self.updates), **{f"plan/{name}": tensor for name, tensor in plan.items()}}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned, where the chain is attached, or as soon as it is."""
        self.updates = int(tensors["updates"])
        self._pending = {name.removeprefix("plan/"): tensor for name, tensor in tensors.items() if name.startswith("plan/")}
        if self.plan is not None:
            self._restore(self.plan)

    def detach(self) -> None:
        """Remove all hooks."""
        self._handle.remove()
        if self.plan is not None:
            self.plan.detach()

    def _attach(self, args: tuple, kwargs: dict[str, Any] | None = None) -> Plan:
        self.plan = attach(self.module, self._optimizer, self._chain, args, self._seed, fresh=self._fresh, example_kwargs=kwargs)
        self._restore(self.plan)
        return self.plan

    def _restore(self, plan: Plan) -> None:
        if self._pending:
            plan.load_state_dict(self._pending)
        self._pending = None
