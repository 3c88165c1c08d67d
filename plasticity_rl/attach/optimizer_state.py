"""What a torch.optim optimizer remembers of a module's parameters, as the slots that interventions know.

torch.optim.Adam has one step counter a tensor, so weights whose memory was forgotten would take first steps of 3.15 learning rates (or,
with the counter started again, their neighbours 0.32), and RMSprop, which corrects nothing, first steps of 10. Here each newborn element's
step is made what its own count of updates says, right after the optimizer's, until the difference is gone: 1.0 for newborn and survivors.
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
"""optimizer -> its name of a memory -> ours"""
GONE = 1e-7  # a correction that is nearer to 1 than this is none


class Memory:
    """The memory of an optimizer, read and written in place. Its own state is `born`: parameter -> at which step of the optimizer each
    element was born, for tensors that hold some whose bias correction still differs from their neighbours'."""

    def __init__(self, optimizer: torch.optim.Optimizer, params: dict[str, nn.Parameter]) -> None:
        self.optimizer, self.params = optimizer, params
        self.names = SLOTS[type(optimizer)]
        self.born: Params = {}
        self._until: dict[str, float] = {}
        self._before: dict[str, tuple[Tensor, Tensor]] = {}
        for name, group in self._groups().items():
            if isinstance(optimizer, torch.optim.SGD) and group["dampening"]:
                raise UsageError(f"SGD with dampening, of {name}: its first step is not damped, and a newborn's would be; take 0")
        self._handles = (optimizer.register_step_pre_hook(self._remember), optimizer.register_step_post_hook(self._correct))

    @property
    def counts(self) -> bool:
        """Does the length of its steps depend on how many there were?"""
        return not isinstance(self.optimizer, torch.optim.SGD)

    def slots(self) -> dict[str, Params]:
        """Slot -> parameter -> tensor of its shape, zeros where there is no memory yet; and `age`, updates since each element was born."""
        slots: dict[str, Params] = {}
        for theirs, ours in self.names.items():
            if any(self._held(name, theirs) is not None for name in self.params):
                held = {name: self._held(name, theirs) for name in self.params}
                slots[ours] = {name: torch.zeros_like(self.params[name]) if old is None else old for name, old in held.items()}
        if self.counts:
            slots["age"] = {name: self._age(name) for name in self.params}
        return slots

    @torch.no_grad()
    def write(self, old: dict[str, Params], new: dict[str, Params]) -> None:
        """Take what has become of `slots()`."""
        for theirs, ours in self.names.items():
            for name in self.params:
                held = self._held(name, theirs)
                if held is not None and ours in new and new[ours][name] is not old[ours][name]:
                    held.copy_(new[ours][name])
        for name in self.params:
            if self.counts and new["age"][name] is not old["age"][name]:
                self.born[name] = self._step(name) - new["age"][name]
                self._until[name] = float(self._step(name)) + self._lasts(self._groups()[name])

    def load(self, born: Params) -> None:
        """Take another's `born`."""
        self.born = {name: tensor.clone().to(self.params[name].device) for name, tensor in born.items()}
        self._until = {name: float(tensor.max()) + self._lasts(self._groups()[name]) for name, tensor in born.items()}

    def detach(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _groups(self) -> dict[str, dict[str, Any]]:
        """Parameter -> its group; groups are looked up each time, for loading a state replaces them."""
        groups = {id(param): group for group in self.optimizer.param_groups for param in group["params"]}
        return {name: groups[id(param)] for name, param in self.params.items()}

    def _held(self, name: str, theirs: str) -> Tensor | None:
        return self.optimizer.state.get(self.params[name], {}).get(theirs)

    def _step(self, name: str) -> Tensor:
        step = self._held(name, "step")
        kind = torch.promote_types(self.params[name].dtype, torch.float32)  # whose counts are exact
        return torch.zeros((), dtype=kind, device=self.params[name].device) if step is None else step.to(self.params[name].device, kind)

    def _age(self, name: str) -> Tensor:
        step = self._step(name)
        return step - self.born[name] if name in self.born else step.expand_as(self.params[name]).clone()

    def _remember(self, *_: Any) -> None:
        """Before the optimizer's step."""
        self._before = {name: (self.params[name].detach().clone(), self._step(name).clone()) for name in self.born}

    @torch.no_grad()
    def _correct(self, *_: Any) -> None:
        """After the optimizer's step: the newborn's own."""
        groups = self._groups()
        for name, (param, step) in self._before.items():
            if self.params[name].grad is None:
                continue
            too_much = self._excess(name, groups[name], param)
            too_much = torch.where(self._step(name) > step, too_much, 0.0)  # a scaler may have skipped the step
            self.params[name].add_((groups[name]["lr"] * too_much).to(param.dtype))
        self._before = {}
        for name in list(self.born):
            if (step := self._held(name, "step")) is not None and float(step) > self._until[name]:
                del self.born[name]

    def _excess(self, name: str, group: dict[str, Any], before: Tensor) -> Tensor:
        """By how much, at a learning rate of 1, the optimizer's step was longer than each element's own."""
        step, count = self._step(name), self._age(name)
        square = self._held(name, "max_exp_avg_sq" if group.get("amsgrad") else "exp_avg_sq" if "betas" in group else "square_avg")
        assert square is not None
        if "betas" in group:
            mean, (beta1, beta2) = self._held(name, "exp_avg"), map(float, group["betas"])
            assert mean is not None

            def step_of(count: Tensor) -> Tensor:
                return mean / _grown(beta1, count) / ((square / _grown(beta2, count)).sqrt() + group["eps"])

            return step_of(step) - step_of(count)
        grad = self.params[name].grad
        assert grad is not None
        grad = (-grad if group["maximize"] else grad) + group["weight_decay"] * before
        mean = self._held(name, "grad_avg")
        centre = 0.0 if mean is None else mean.square()  # grows from zero, as in our RMSprop: the variance of one gradient is nil

        def divided(square: Tensor) -> Tensor:
            return grad / ((square - centre).clamp(min=0).sqrt() + group["eps"])

        corrected = torch.where(self.born[name] > 0, square / _grown(group["alpha"], count), square)
        excess = divided(square) - divided(corrected)
        velocity = self._held(name, "momentum_buffer")
        if velocity is not None:
            velocity.sub_(excess)
        return excess

    @staticmethod
    def _lasts(group: dict[str, Any]) -> float:
        """Updates until a newborn's correction is gone."""
        slowest = max(map(float, group["betas"])) if "betas" in group else float(group["alpha"])
        return math.log(GONE) / math.log(slowest) if slowest else 1.0


def _grown(keep: float, count: Tensor) -> Tensor:
    """1 - keep^count, without cancellation."""
    return -torch.expm1(count * (math.log(keep) if keep else -math.inf))
