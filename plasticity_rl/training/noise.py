"""Normal numbers for updates, each a function of a key and of its place alone, worked out inside the compiled update.

There is no generator to draw from one after the other: a hash of the place gives bits, two words of bits a pair of normal numbers. So they
are made by all lanes of a processor or GPU at once, beside what uses them, and only the key comes from outside.
"""

from math import pi, prod

import torch
from torch import Tensor

from plasticity_rl.networks.layers import Params

ROUNDS = ((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB))
"""shift and factor of each round of "triple32", which of its author's search for good hashes of 32 bits is the least biased
(C. Wellons, github.com/skeeto/hash-prospector)"""
LAST = 14  # the final shift


def key(seeds: list[int]) -> Tensor:
    """Keys, (S, 2), of int32, from seeds of 63 bits as `derive` makes them: of two whose upper half is the same, one's numbers are the
    other's, shifted."""
    return torch.tensor(seeds, dtype=torch.int64).view(torch.int32).view(-1, 2)


def normals(key: Tensor, shapes: dict[str, tuple[int, ...]]) -> Params:
    """Independent standard normal numbers of these shapes, of torch's default precision; `key` (2,)."""
    sizes = [prod(shape) for shape in shapes.values()]
    parts = normal(key, sum(sizes)).split(sizes)
    return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def normal(key: Tensor, count: int) -> Tensor:
    """So many standard normal numbers, of torch's default precision; `key` (2,). Pairs come of Box and Muller's transformation (1958)."""
    half = (count + 1) // 2
    first, second = (bits(key, start, half) for start in (0, half))
    kind = torch.get_default_dtype()
    share = (_shifted(first, 8).to(kind) + 0.5) * 2**-24  # in (0, 1]: none is zero, whose logarithm there is not
    length, angle = (-2 * share.log()).sqrt(), second.to(kind) * (pi * 2**-31)
    return torch.cat([length * angle.cos(), length * angle.sin()])[:count]


def bits(key: Tensor, start: int, count: int) -> Tensor:
    """The words of 32 bits, as int32, at places `start` and on; `key` (2,). Products wrap around."""
    x = torch.arange(start, start + count, dtype=torch.int32, device=key.device) + key[0]
    for part, (shift, factor) in zip((key[1], 0, 0), ROUNDS, strict=True):
        x = (x ^ _shifted(x, shift)) * _signed(factor) ^ part
    return x ^ _shifted(x, LAST)


def _shifted(x: Tensor, places: int) -> Tensor:
    """To the right, with zeros from the left, which int32 takes its sign from."""
    return (x >> places) & ((1 << (32 - places)) - 1)


def _signed(word: int) -> int:
    """The same 32 bits as an int32."""
    return word - (1 << 32) if word >> 31 else word
