"""Units of a module's layers on a batch, as methods see them, and the errors where they cannot."""

from collections.abc import Callable

from torch import Tensor, nn

from plasticity_rl.checks import UsageError
from plasticity_rl.networks.layers import Params

NO_BATCH = (
    "no batch has passed through the module in training mode with gradients yet: call the module itself, or set plan.batch = ((x,), {})"
)


class Units(dict[str, Tensor]):
    """Layer -> its units. True even if empty: methods take falsy features for a batch that was never seen."""

    def __init__(self, units: Params, shared: set[str]) -> None:
        super().__init__(units)
        self._shared = shared

    def __bool__(self) -> bool:
        return True

    def __missing__(self, layer: str) -> Tensor:
        if layer in self._shared:
            raise UsageError(
                f"the chain needs the units of {layer}, which are not its alone: give each head a hidden layer with an activation"
            )
        raise UsageError(f"the chain needs the units of {layer}: attach(..., units={{{layer!r}: 'the submodule whose output they are'}})")


class Unseen(dict[str, Tensor]):
    """Units of no batch, for methods that would otherwise do nothing without a word."""

    def __bool__(self) -> bool:
        return True

    def __missing__(self, layer: str) -> Tensor:
        raise UsageError(NO_BATCH)


def caught_by(caught: Params, name: str, raw: bool) -> Callable[..., None]:
    def catch(module: nn.Module, args: tuple, output: Tensor) -> None:
        if name in caught:
            raise UsageError(f"units={{{name!r}: ...}} must be a submodule that is called once in a pass")
        if not isinstance(output, Tensor):
            raise UsageError(f"units={{{name!r}: ...}} must be a submodule whose output is a tensor")
        caught[name] = (args[0] if raw else output).clone()

    return catch
