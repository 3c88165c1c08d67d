"""Layers of an nn.Module for methods that need no layer graph, and newly initialised copies of the module.

Each parameter of two or more dimensions is the weight of a layer of its own: in linear layers, convolutions, recurrent cells
(`weight_ih_l0`) and attention (`in_proj_weight`). Biases by torch's naming, scales and offsets of norms, and embedding tables, which are
looked up instead of multiplied, are no weights.
"""

import copy

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from plasticity_rl.checks import UsageError
from plasticity_rl.networks.layers import Layer

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, _NormBase)
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
PRIVATE_RESET = (nn.MultiheadAttention, nn.Transformer)  # their `_reset_parameters` is private


def bare_layers(module: nn.Module) -> tuple[Layer, ...]:
    """One layer per weight, without readers.

    A bias belongs to the weight whose name it shares; a norm's scale and offset to the nearest weight before it that has none; all else to
    the last layer's `others`, which no method treats as weights. A shared parameter has its first name, and is a weight if one of its users
    has it as a weight.
    """
    names = {id(param): name for name, param in module.named_parameters()}
    layers: dict[str, Layer] = {}
    norms: list[tuple[int, list[str]]] = []
    for each in module.modules():
        own = {name: param for name, param in each.named_parameters(recurse=False)}
        if isinstance(each, NORMS):
            norms.append((len(layers), [names[id(param)] for param in own.values()]))
        elif not isinstance(each, EMBEDDINGS):
            for name, param in own.items():
                weight, bias = names[id(param)], name.replace("weight", "bias")
                if param.ndim > 1 and not name.startswith("bias") and weight not in layers:
                    paired = bias != name and bias in own and own[bias].shape == param.shape[:1]
                    beside = names[id(own[bias])] if paired else None
                    layers[weight] = Layer(weight.removesuffix(".weight"), weight, beside, None, None, len(param), (), 1, None)
    made = [*layers.values()]
    for place, own in norms:
        free = [i for i, layer in enumerate(made) if layer.scale is None and layer.offset is None]
        if free and own:
            nearest = max((i for i in free if i < place), default=free[0])
            made[nearest] = made[nearest]._replace(scale=own[0], offset=own[1] if len(own) > 1 else None)
    if not made:
        raise UsageError(f"{type(module).__name__} has no weights: all parameters of two or more dimensions are norms' or embeddings'")
    placed = {name for layer in made for name in layer.own}
    made[-1] = made[-1]._replace(others=tuple(name for name in names.values() if name not in placed))
    return tuple(made)


def bare_statistics(module: nn.Module) -> dict[str, tuple[str, ...]]:
    """Layer of `bare_layers` -> the running mean and variance of the batch norm behind it, which has one of each for each of its rows."""
    weights = {layer.weight: (layer.name, layer.units) for layer in bare_layers(module)}
    found: dict[str, tuple[str, ...]] = {}
    before: tuple[str, int] | None = None
    for path, each in module.named_modules():
        if isinstance(each, _NormBase) and each.running_mean is not None and before and before[1] == len(each.running_mean):
            found.setdefault(before[0], (f"{path}.running_mean", f"{path}.running_var"))
        for name, _ in each.named_parameters(recurse=False):
            before = weights.get(f"{path}.{name}".removeprefix("."), before)
    return found


def unwrapped(module: nn.Module) -> nn.Module:
    """The module in what torch.compile made of it."""
    inner = getattr(module, "_orig_mod", None)
    return inner if isinstance(inner, nn.Module) else module


def check_reinitialisable(module: nn.Module, params: dict[str, nn.Parameter]) -> None:
    """Raises UsageError if a submodule cannot be re-initialised."""
    for path, each in module.named_modules():
        mine = {f"{path}.{name}".removeprefix(".") for name, _ in each.named_parameters(recurse=False)}
        if mine & params.keys() and not (hasattr(each, "reset_parameters") or isinstance(each, PRIVATE_RESET)):
            raise UsageError(
                f"{path or type(each).__name__} has no reset_parameters() to re-initialise it: give attach(..., fresh=), a function that "
                "makes such a module"
            )


def reinitialised(module: nn.Module) -> nn.Module:
    """Copy of the module, re-initialised by the `reset_parameters` of its submodules."""
    made = copy.deepcopy(module)
    parts = [*made.modules()]
    for each in parts:
        reset = getattr(each, "reset_parameters", None)
        if callable(reset):
            reset()
    for each in reversed(parts):  # last, since they also initialise their submodules, as in their constructors
        if isinstance(each, PRIVATE_RESET):
            each._reset_parameters()
    return made
