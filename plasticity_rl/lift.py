"""From functions of one network to functions of S networks side by side: lifted over axis 0, compiled once, written in place.

If a measurement shows a loop over members to be faster somewhere, this is the one file that changes.
"""

import os
import shutil
import sysconfig
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map, tree_map_


def lift(function: Callable[..., Any], in_dims: int | tuple[int | None, ...] = 0) -> Callable[..., Any]:
    """`function` over axis 0 of trees of tensors, as torch.func.vmap; None in `in_dims` marks an argument that all members share.

    A lone member is called as it is: plain products of matrices are a quarter faster than batched ones of a batch of one.
    """
    many = torch.func.vmap(function, in_dims)

    def lifted(*given: Any) -> Any:
        dims = in_dims if isinstance(in_dims, tuple) else (in_dims,) * len(given)
        own = [value for value, dim in zip(given, dims, strict=True) if dim is not None]
        if len(tree_leaves(own)[0]) > 1:
            return many(*given)
        lone = [value if dim is None else tree_map(_first, value) for value, dim in zip(given, dims, strict=True)]
        return tree_map(lambda tensor: tensor.unsqueeze(0), function(*lone))

    return lifted


def one_by_one(function: Callable[..., Any], shared: int = 0) -> Callable[..., Any]:
    """`function` of S members as S calls of one, whose results are put together. What it writes in place is written to all.

    The last `shared` arguments are the same for all members.

    On a processor, convolutions of many networks at once (grouped ones) cost up to twice as much as one network's after the other.
    """

    def called(*given: Any) -> Any:
        members = len(tree_leaves(given)[0])
        if members == 1:
            return function(*given)
        own, common = given[: len(given) - shared], given[len(given) - shared :]
        each = [function(*tree_map(lambda tensor, m=m: tensor[m : m + 1], own), *common) for m in range(members)]
        return tree_map(lambda *tensors: torch.cat(tensors), *each)

    return called


def _first(tensor: Tensor) -> Tensor:
    return tensor[0]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` compiled as one graph of fixed shapes; `function` itself, with one warning, where this machine has no C++ compiler."""
    if not can_compile():
        return function
    _repair_inductor()

    def alone(*given: Any) -> Any:
        return function(*given)

    # Graphs are kept with a function's code, at most eight: each function gets code of its own. What it reads besides tensors is frozen.
    alone.__code__ = alone.__code__.replace()
    options: Any = {"guard_filter_fn": torch.compiler.keep_tensor_guards_unsafe}
    return torch.compile(alone, fullgraph=True, dynamic=False, options=options)


@cache
def can_compile() -> bool:
    """Are a C++ compiler and Python's headers, which torch.compile needs, on this machine? Warns where they are not."""
    compiler = any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++", "c++"))
    found = compiler and (Path(sysconfig.get_paths()["include"]) / "Python.h").exists()
    if not found:
        warnings.warn("no C++ compiler with Python's headers was found: updates run uncompiled, several times slower", stacklevel=2)
    return found


@cache
def _repair_inductor() -> None:
    """Inductor asks every user of a buffer where it reads it, and dies where one only overwrites it (pytorch issue 196570), as happens to
    parameters that are projected and written. It must then not keep the buffer local, which is what None makes it conclude."""
    from torch._inductor.loop_body import LoopBody

    original = LoopBody.get_read_expr

    def get_read_expr(self: LoopBody, buffer_name: str) -> Any:
        try:
            return original(self, buffer_name)
        except KeyError:
            return None

    LoopBody.get_read_expr = get_read_expr


def stack(trees: list[Any]) -> Any:
    """One tree of (S, ...) tensors from S equal trees of tensors."""
    return tree_map(lambda *tensors: torch.stack(tensors), *trees)


def copied(tree: Any) -> Any:
    """The same tree of new tensors."""
    return tree_map(torch.clone, tree)


def write_(old: Any, new: Any) -> None:
    """Copy the tensors of one tree into those of another, in place, so that whoever holds them keeps them."""
    tree_map_(lambda o, n: o.copy_(n), old, new)
