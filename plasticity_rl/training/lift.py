"""From functions of one network to functions of S networks side by side: lifted over axis 0, written in place.

If a loop over members proves faster somewhere, only this file changes.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_iter, tree_leaves, tree_map, tree_map_

CACHED = 2**20  # parameters of a chunk: 4 MiB, and four times that with gradients and Adam's moments


def lift(function: Callable[..., Any], in_dims: int | tuple[int | None, ...] = 0) -> Callable[..., Any]:
    """Lift `function` over axis 0 of trees of tensors, as torch.func.vmap; None in `in_dims` marks an argument that all members share.

    A single member is called without vmap: plain matrix products are a quarter faster than batched products with a batch of one.
    """
    many = torch.func.vmap(function, in_dims)

    def lifted(*given: Any) -> Any:
        dims = in_dims if isinstance(in_dims, tuple) else (in_dims,) * len(given)
        own = [value for value, dim in zip(given, dims, strict=True) if dim is not None]
        if len(next(iter(tree_iter(own)))) > 1:
            return many(*given)
        lone = [value if dim is None else tree_map(_first, value) for value, dim in zip(given, dims, strict=True)]
        return tree_map(lambda tensor: tensor.unsqueeze(0), function(*lone))

    return lifted


def chunked(function: Callable[..., Any], size: int, shared: int = 0) -> Callable[..., Any]:
    """Split `function` of S members into successive calls of `size` members and concatenate the results; S is a multiple of `size`.
    In-place writes reach the full tensors.

    The last `shared` arguments are the same for all members.
    """

    def called(*given: Any) -> Any:
        members = len(next(iter(tree_iter(given))))  # the whole tree takes longer to walk than a small update
        if members == size:
            return function(*given)
        own, common = given[: len(given) - shared], given[len(given) - shared :]
        each = [function(*tree_map(lambda tensor, m=m: tensor[m : m + size], own), *common) for m in range(0, members, size)]
        return tree_map(lambda *tensors: torch.cat(tensors), *each)

    return called


def chunk_size(members: int, device: str, convolves: bool, parameters: int) -> int:
    """The number of members, of `parameters` numbers each, to update in one call for best speed: a divisor of `members`.

    On a CPU, grouped convolutions of many networks cost up to twice as much as one network after the other. The intermediate results of
    more than 32 small networks exceed the caches, as do the parameters, gradients and moments of a few wide ones.
    """
    if device != "cpu":
        return members
    if convolves:
        return 1
    # At least two, as a network alone is multiplied by other kernels, which round differently.
    most = min(members, 32, max(CACHED // parameters, 2))
    fewest = 2 if most < 8 else 8
    return next((size for size in range(most, fewest - 1, -1) if members % size == 0), members)


def _first(tensor: Tensor) -> Tensor:
    return tensor[0]


class Captured:
    """`function`, which writes its results in place, as a CUDA graph: one launch for all its kernels.

    The arguments at `varying` are copied into the graph's input tensors; the others must be the same tensors in every call. The next call
    overwrites the returned tensors. The first calls with new shapes run without a graph, so that libraries choose their kernels.
    """

    WARM = 3  # warm-up calls before the capture, as in PyTorch's documentation

    def __init__(self, function: Callable[..., Any], varying: tuple[int, ...], capture: Callable[..., Any] | None = None) -> None:
        """`capture` records a function without arguments and returns a replay function and its output; by default `_cuda_graph`."""
        self._function, self._varying, self._capture = function, varying, capture or _cuda_graph
        self._kept: dict[Any, list[Any]] = {}
        self._calls: dict[Any, int] = {}
        self._graphs: dict[Any, tuple[Callable[[], None], Any]] = {}

    def __call__(self, *given: Any) -> Any:
        shapes = tuple((tensor.shape, tensor.dtype) for tensor in tree_leaves(given))
        if shapes not in self._kept:
            self._kept[shapes] = [tree_map(torch.clone, value) if i in self._varying else value for i, value in enumerate(given)]
        kept = self._kept[shapes]
        for i, (old, new) in enumerate(zip(kept, given, strict=True)):
            if i in self._varying:
                write_(old, new)
            elif [tensor.data_ptr() for tensor in tree_leaves(old)] != [tensor.data_ptr() for tensor in tree_leaves(new)]:
                raise RuntimeError(f"argument {i} of a captured function has moved in memory")
        self._calls[shapes] = self._calls.get(shapes, 0) + 1
        if self._calls[shapes] <= self.WARM:
            return self._function(*kept)
        if shapes not in self._graphs:
            with torch.cuda.device_of(tree_leaves(kept)[0]):  # a capture records only the current device
                self._graphs[shapes] = self._capture(lambda: self._function(*kept))
        again, returned = self._graphs[shapes]
        again()
        return tree_map(lambda tensor: tensor, returned)  # the caller may add to the dict


def _cuda_graph(function: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """Capture `function` without running it; returns a replay function and the output tensors."""
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        returned = function()
    return graph.replay, returned


def stack(trees: list[Any]) -> Any:
    """Stack S trees of tensors with the same structure into one tree of (S, ...) tensors."""
    return tree_map(lambda *tensors: torch.stack(tensors), *trees)


def copied(tree: Any) -> Any:
    """A deep copy of the tree, with new tensors."""
    return tree_map(torch.clone, tree)


def write_(old: Any, new: Any) -> None:
    """Copy the tensors of one tree into those of another, in place, so that references to them stay valid."""
    tree_map_(lambda o, n: o.copy_(n), old, new)
