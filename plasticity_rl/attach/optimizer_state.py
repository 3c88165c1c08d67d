"""State of a torch.optim optimizer, as the slots that interventions read and write.

torch.optim.Adam has one step counter per tensor, so weights whose state was reset would take first steps of 3.15 learning rates (or, with
the counter reset too, their neighbours 0.32); RMSprop, which corrects no bias, would take first steps of 10. Here each reset element's step
is corrected to its own number of updates right after the optimizer's step, until the difference is gone: 1.0 for reset and other elements.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from plasticity_rl.checks import UsageError
from plasticity_rl.networks.layers import Params

SLOTS: dict[type, dict[str, str]] = {
    torch.optim.Adam: {"exp_avg": "mean", "exp_avg_sq": "square", "max_exp_avg_sq": "largest"},
    torch.optim.AdamW: {"exp_avg": "mean", "exp_avg_sq": "square", "max_exp_avg_sq": "largest"},
    torch.optim.RMSprop: {"square_avg": "square", "grad_avg": "mean", "momentum_buffer": "velocity"},
    torch.optim.SGD: {"momentum_buffer": "velocity"},
}
"""optimizer -> torch's name of a state tensor -> the slot's name"""
GONE = 1e-7  # corrections closer to 1 than this are dropped


class OptimizerState:
    """State of an optimizer, read and written in place.

    Its own state is `reset_steps`: parameter -> optimizer step at which each element was last reset, for tensors with elements whose bias
    correction still differs from their neighbours'.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, params: dict[str, nn.Parameter]) -> None:
        self.optimizer, self.params = optimizer, params
        self.names = SLOTS[type(optimizer)]
        self.reset_steps: Params = {}
        self._until: dict[str, float] = {}
        self._before: dict[str, tuple[Tensor, Tensor]] = {}
        for name, group in self._groups().items():
            if isinstance(optimizer, torch.optim.SGD) and group["dampening"]:
                raise UsageError(f"SGD with dampening ({name}) would damp the first step after a reset; take dampening=0")
        self._handles = (optimizer.register_step_pre_hook(self._remember), optimizer.register_step_post_hook(self.correct))

    @property
    def has_age(self) -> bool:
        """True if step sizes depend on the number of earlier steps."""
        return not isinstance(self.optimizer, torch.optim.SGD)

    def slots(self) -> dict[str, Params]:
        """Slot -> parameter -> tensor of its shape, zeros before the first step; and `age`, updates since each element's last reset."""
        slots: dict[str, Params] = {}
        for theirs, ours in self.names.items():
            if any(self._stored(name, theirs) is not None for name in self.params):
                stored = {name: self._stored(name, theirs) for name in self.params}
                slots[ours] = {name: torch.zeros_like(self.params[name]) if old is None else old for name, old in stored.items()}
        if self.has_age:
            slots["age"] = {name: self._age(name) for name in self.params}
        return slots

    @torch.no_grad()
    def write(self, old: dict[str, Params], new: dict[str, Params]) -> None:
        """Write modified slots back to the optimizer."""
        for theirs, ours in self.names.items():
            for name in self.params:
                stored = self._stored(name, theirs)
                if stored is not None and ours in new and new[ours][name] is not old[ours][name]:
                    stored.copy_(new[ours][name])
        for name in self.params:
            if self.has_age and new["age"][name] is not old["age"][name]:
                self.reset_steps[name] = self._step(name) - new["age"][name]
                self._until[name] = float(self._step(name)) + self._correction_updates(self._groups()[name])

    def load(self, reset_steps: Params) -> None:
        """Restore `reset_steps`."""
        self.reset_steps = {name: tensor.clone().to(self.params[name].device) for name, tensor in reset_steps.items()}
        self._until = {name: float(tensor.max()) + self._correction_updates(self._groups()[name]) for name, tensor in reset_steps.items()}

    def detach(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _groups(self) -> dict[str, dict[str, Any]]:
        """Parameter -> its group; looked up at each call, as loading a state replaces groups."""
        groups = {id(param): group for group in self.optimizer.param_groups for param in group["params"]}
        return {name: groups[id(param)] for name, param in self.params.items()}

    def _stored(self, name: str, theirs: str) -> Tensor | None:
        return self.optimizer.state.get(self.params[name], {}).get(theirs)

    def _step(self, name: str) -> Tensor:
        step = self._stored(name, "step")
        kind = torch.promote_types(self.params[name].dtype, torch.float32)  # its counts are exact
        return torch.zeros((), dtype=kind, device=self.params[name].device) if step is None else step.to(self.params[name].device, kind)

    def _age(self, name: str) -> Tensor:
        step = self._step(name)
        return step - self.reset_steps[name] if name in self.reset_steps else step.expand_as(self.params[name]).clone()

    def _remember(self, *_: Any) -> None:
        """Copy parameters and counters before the optimizer's step."""
        self._before = {name: (self.params[name].detach().clone(), self._step(name).clone()) for name in self.reset_steps}

    @torch.no_grad()
    def correct(self, *_: Any) -> None:
        """Correct reset elements after the optimizer's step, once: where other hooks on the optimizer come first, a refresh calls it."""
        groups = self._groups()
        for name, (param, step) in self._before.items():
            if self.params[name].grad is None:
                continue
            too_much = self._excess(name, groups[name], param)
            too_much = torch.where(self._step(name) > step, too_much, 0.0)  # a scaler may have skipped the step
            self.params[name].add_((groups[name]["lr"] * too_much).to(param.dtype))
        self._before = {}
        for name in list(self.reset_steps):
            if (step := self._stored(name, "step")) is not None and float(step) > self._until[name]:
                del self.reset_steps[name]

    def _excess(self, name: str, group: dict[str, Any], before: Tensor) -> Tensor:
        """Difference between the optimizer's step and each element's own, at a learning rate of 1."""
        step, count = self._step(name), self._age(name)
        square = self._stored(name, "max_exp_avg_sq" if group.get("amsgrad") else "exp_avg_sq" if "betas" in group else "square_avg")
        assert square is not None
        if "betas" in group:
            mean, (beta1, beta2) = self._stored(name, "exp_avg"), map(float, group["betas"])
            assert mean is not None

            def step_of(count: Tensor) -> Tensor:
                return mean / _one_minus_power(beta1, count) / ((square / _one_minus_power(beta2, count)).sqrt() + group["eps"])

            return step_of(step) - step_of(count)
        grad = self.params[name].grad
        assert grad is not None
        grad = (-grad if group["maximize"] else grad) + group["weight_decay"] * before
        mean = self._stored(name, "grad_avg")
        centre = 0.0 if mean is None else mean.square()  # grows from zero, as in our RMSprop: the variance of one gradient is nil

        def divided(square: Tensor) -> Tensor:
            return grad / ((square - centre).clamp(min=0).sqrt() + group["eps"])

        corrected = torch.where(self.reset_steps[name] > 0, square / _one_minus_power(group["alpha"], count), square)
        excess = divided(square) - divided(corrected)
        velocity = self._stored(name, "momentum_buffer")
        if velocity is not None:
            velocity.sub_(excess)
        return excess

    @staticmethod
    def _correction_updates(group: dict[str, Any]) -> float:
        """Updates until a reset element's correction is gone."""
        slowest = max(map(float, group["betas"])) if "betas" in group else float(group["alpha"])
        return math.log(GONE) / math.log(slowest) if slowest else 1.0


def _one_minus_power(keep: float, count: Tensor) -> Tensor:
    """1 - keep^count, without cancellation."""
    return -torch.expm1(count * (math.log(keep) if keep else -math.inf))
