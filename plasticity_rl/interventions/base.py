"""The shape of an intervention."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from plasticity_rl.checks import Interval, UsageError
from plasticity_rl.networks.layers import Layers, Params
from plasticity_rl.optim.optimizers import Net, Optimizer

State = dict[str, Tensor]


class UpdateContext(NamedTuple):
    """What an update looks at, of one network."""

    apply: Callable[..., tuple[Tensor, Params]]
    """(params, raw=False) -> outputs, and the hidden layers' units, on the inputs of the batch: as Network.apply. Each call is a forward
    pass of its own, and its cost shows"""
    noise: Params
    """standard normal numbers of the parameters' shapes, its own and new in every update; empty unless the method is `noisy`"""


class RefreshContext(NamedTuple):
    """What a refresh may look at, of one network."""

    fresh: Params
    """a newly initialised network: the only randomness there is"""
    features: Params
    """hidden layer -> its units on the batch just learned from, (samples, units); several outputs of a unit are samples, as in apply"""


@dataclass(frozen=True)
class Intervention:
    """One change to how a network is built, penalised, refreshed or constrained.

    A member of the family is a frozen dataclass of hyper-parameters that overrides some of the moments below, which come in this order:
    build and optimizer -> penalty in the loss -> the optimizer's step -> after_step -> refresh when due -> project, the last thing in every
    update. Each is a pure function of ONE network; what evolves is in an explicit state. Within a moment, a chain's order counts.
    """

    repeatable: ClassVar[bool] = False
    """may it stand in a chain several times, with other settings each, because each of them acts? So do penalties and refreshes"""
    noisy: ClassVar[bool] = False
    """does its `after_step` take noise?"""
    uniform_age: ClassVar[bool] = False
    """where it makes the optimizer forget, does it forget whole tensors? One age is then kept of a tensor, not of each weight; what is said
    of a method counts where it refreshes or has an `after_step`; one that leaves the memory alone is whole"""

    @property
    def needs_layer_graph(self) -> bool:
        """Does it look at units, at heads, or at which layer reads which? If not, it goes with any module, where layers are weights with
        what stands beside them, and no more."""
        return True

    def build(self) -> dict[str, Any]:
        """Fields of the NetworkSpec that it sets."""
        return {}

    def optimizer(self) -> dict[str, Any]:
        """Fields of the optimizer that it sets."""
        return {}

    def is_noop(self, optimizer: Optimizer) -> bool:
        """Do its settings leave everything as it is, under that optimizer? An experiment, whose label would name it, refuses it then."""
        return False

    def require(self, layers: Layers) -> None:
        """Raises UsageError where the network lacks what the method needs."""

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        """Its state at birth: plain tensors, saved beside the network; what is random in it comes from `generator`, which is on the CPU. No
        refresh touches another method's state."""
        return {}

    def penalty(self, params: Params, state: State, layers: Layers, context: UpdateContext) -> Tensor:
        """A scalar added to the loss."""
        return next(iter(params.values())).new_zeros(())

    def after_step(self, net: Net, state: State, grads: Params, layers: Layers, context: UpdateContext) -> tuple[Net, State]:
        """The network and the state after the optimizer's step along `grads`, in every update."""
        return net, state

    def project(self, params: Params, state: State, layers: Layers) -> tuple[Params, State]:
        """The parameters that the network is held to after every update and every refresh."""
        return params, state


@dataclass(frozen=True)
class Refresh(Intervention, ABC):
    """An intervention that, every now and then, puts new values in place of learned ones."""

    clock: Literal["update", "task"] = "update"
    """what `every` counts; `task` needs to be told of task boundaries"""
    every: Annotated[int | None, Interval("[1, inf)")] = None
    """ticks of the clock between two refreshes; the method's own default for the clock where it has one, and needed where not"""

    repeatable: ClassVar[bool] = True
    default_every: ClassVar[dict[str, int]] = {}
    """clock -> `every`, where nothing else is said"""

    def __post_init__(self) -> None:
        self.set_default_every()

    def set_default_every(self) -> None:
        """Put the default of `every` in its place, for `__post_init__`. Raises UsageError where there is none for the clock."""
        if self.every is None:
            if self.clock not in self.default_every:
                raise UsageError(
                    f"{type(self).__name__}: clock={self.clock} needs every, the number of {self.clock}s between two refreshes"
                )
            object.__setattr__(self, "every", self.default_every[self.clock])

    def due(self, tick: int) -> bool:
        """Is it due at that tick of its clock?"""
        assert self.every is not None, "a __post_init__ of one's own calls set_default_every()"
        return tick % self.every == 0

    @abstractmethod
    def refresh(self, net: Net, state: State, context: RefreshContext, layers: Layers) -> tuple[Net, State]:
        """The network, its optimizer's memory and the state after a refresh."""

    @property
    def needs_fresh(self) -> bool:
        """Does it take values of a newly initialised network?"""
        return True

    @property
    def clears_replay(self) -> bool:
        """Does it also make an agent forget the data that it has gathered?"""
        return False

    @property
    def syncs_target(self) -> bool:
        """Does it reach an agent's target network too?"""
        return False
