"""Base classes of interventions."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from plasticity_rl.checks import PREFIX, Interval, UsageError
from plasticity_rl.networks.layers import Layers, Params, penultimate
from plasticity_rl.optim.optimizers import Net, Optimizer

State = dict[str, Tensor]


class UpdateContext(NamedTuple):
    """Inputs of a hook within an update, of one network."""

    apply: Callable[..., tuple[Tensor, Params]]
    """(params, raw=False) -> outputs and the hidden layers' units on the inputs of the batch, as Network.apply; each call is a further
    forward pass. For a method that is limited, `params` and results are those of its networks"""
    noise: Params
    """standard normal numbers of the parameters' shapes, the method's own and new in every update; empty unless the method is `noisy`"""


def without_batch(params: Params, raw: bool = False) -> tuple[Tensor, Params]:
    """In place of a forward pass where there is no batch yet. Raises UsageError."""
    raise UsageError("a refresh needs units, and no batch has been learned from yet")


class RefreshContext(NamedTuple):
    """Inputs of a refresh, of one network."""

    fresh: Params
    """parameters of a newly initialised network, the sole source of randomness"""
    features: Params
    """hidden layer -> its units on the batch just learned from, (samples, units); several outputs of a unit are samples, as in
    Network.apply; none before the first batch"""
    apply: Callable[..., tuple[Tensor, Params]] = without_batch
    """as in UpdateContext, on that batch"""


@dataclass(frozen=True)
class Intervention:
    """One change to how a network is built, penalised, refreshed or constrained.

    A method is a frozen dataclass of hyperparameters that overrides some of the hooks below. Their order is: build and optimizer -> penalty
    in the loss -> the optimizer's step -> after_step -> refresh when due -> project, the last step of every update. Each hook is a pure
    function of ONE network; all that changes is in an explicit state. Within a hook, methods act in the order of the chain.
    """

    only: str = field(default="", kw_only=True, metadata=PREFIX)
    """name of the one network on which it acts, where an agent has several; words have it in front, `policy.redo`. `critic` stands for all
    of `critic0`, `critic1` and so on; empty for all networks"""

    repeatable: ClassVar[bool] = False
    """True if a chain may hold it several times with different settings, as with penalties and refreshes"""
    noisy: ClassVar[bool] = False
    """True if its `after_step` takes noise"""
    projects_birth: ClassVar[bool] = False
    """True if its projection changes a new network too, which is then projected before its first forward pass"""
    uniform_age: ClassVar[bool] = False
    """True if it resets optimizer state for whole tensors only, or not at all: one age per tensor is then kept instead of one per weight;
    read for methods with a refresh or an `after_step`"""
    when_limited: ClassVar[dict[str, str]] = {}
    """settings that words take as defaults where the method is limited to one network"""

    @property
    def needs_layer_graph(self) -> bool:
        """True if it looks at units, at heads, or at which layer reads which; otherwise it works on any module, with layers of a weight and
        the parameters beside it."""
        return True

    @property
    def takes_single_parameters(self) -> bool:
        """True if it acts on parameters of no layer too, so that it may be limited to one, such as a temperature."""
        return False

    def build(self) -> dict[str, Any]:
        """NetworkSpec fields that it sets."""
        return {}

    def optimizer(self) -> dict[str, Any]:
        """Optimizer fields that it sets."""
        return {}

    def is_noop(self, optimizer: Optimizer) -> bool:
        """True if its settings change nothing under that optimizer; an experiment, whose label would name it, then refuses it."""
        return False

    @property
    def starts_over(self) -> bool:
        """True if the agent keeps nothing at a task boundary: last in a chain, it makes that chain's control."""
        return False

    def require(self, layers: Layers) -> None:
        """Raises UsageError if the network lacks what the method needs."""

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        """Initial state: plain tensors, checkpointed with the network; `generator`, on the CPU, is its only randomness. Refreshes of other
        methods leave it alone, unless they make a new agent."""
        return {}

    def penalty(self, params: Params, state: State, layers: Layers, context: UpdateContext) -> Tensor:
        """Scalar added to the loss."""
        return next(iter(params.values())).new_zeros(())

    def after_step(self, net: Net, state: State, grads: Params, layers: Layers, context: UpdateContext) -> tuple[Net, State]:
        """Network and state after the optimizer's step along `grads`, in every update."""
        return net, state

    def project(self, params: Params, state: State, layers: Layers) -> tuple[Params, State]:
        """Parameters after the constraint and the state, after every update and every refresh."""
        return params, state


@dataclass(frozen=True)
class Refresh(Intervention, ABC):
    """An intervention that replaces learned values at intervals: a reset, recycling or perturbation."""

    clock: Literal["update", "task"] = "update"
    """unit of `every`; `task` needs task boundaries"""
    every: Annotated[int | None, Interval("[1, inf)")] = None
    """ticks of the clock between two refreshes; required if the method has no default for the clock"""

    repeatable: ClassVar[bool] = True
    default_every: ClassVar[dict[str, int]] = {}
    """clock -> default of `every`"""

    def __post_init__(self) -> None:
        self.set_default_every()

    def set_default_every(self) -> None:
        """Fill in the default of `every`; call from `__post_init__`. Raises UsageError if the clock has none."""
        if self.every is None:
            if self.clock not in self.default_every:
                raise UsageError(
                    f"{type(self).__name__}: clock={self.clock} needs every, the number of {self.clock}s between two refreshes"
                )
            object.__setattr__(self, "every", self.default_every[self.clock])

    def due(self, tick: int) -> bool:
        """True if a refresh is due at that tick of its clock."""
        assert self.every is not None, "an overridden __post_init__ must call set_default_every()"
        return tick % self.every == 0

    @abstractmethod
    def refresh(self, net: Net, state: State, context: RefreshContext, layers: Layers) -> tuple[Net, State]:
        """Network, optimizer state and own state after a refresh."""

    @property
    def needs_fresh(self) -> bool:
        """True if it takes values from a newly initialised network."""
        return True

    @property
    def clears_replay(self) -> bool:
        """True to make a new agent: it drops the data it has collected, and the other methods of the chain their states."""
        return False

    @property
    def syncs_target(self) -> bool:
        """True to ask the agent to copy the network into its target network."""
        return False

    @property
    def starts_over(self) -> bool:
        return self.clears_replay and (self.clock, self.every) == ("task", 1)


def require_read_units(method: str, layers: Layers) -> None:
    """Raise UsageError if heads read layers without an activation, which add to a sum, so that there are no units to measure."""
    for layer in penultimate(layers):
        if layer.activation is None:
            raise UsageError(f"{method} needs the units that heads read, and {layer.name} adds to a sum: give each head a hidden layer")
