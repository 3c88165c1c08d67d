"""Counter-based random numbers for updates: each depends on a key and its index alone, and is computed inside the compiled update.

There is no sequential generator: a hash of the index gives random bits, and two words of bits give a pair of normal numbers. They are
computed in parallel on a CPU or GPU, fused with the operations that use them, and only the key is an input.
"""

from math import pi, prod

import torch
from torch import Tensor

ROUNDS = ((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB))
"""shift and factor of each round of "triple32", the least biased of its author's 32-bit hashes (C. Wellons,
github.com/skeeto/hash-prospector)"""
LAST = 14  # final shift of the hash


def key(seeds: list[int]) -> Tensor:
    """Keys, (S, 2), int32, from 63-bit seeds as made by `derive`. Two keys with the same upper half give the same sequence, shifted."""
    return torch.tensor(seeds, dtype=torch.int64).view(torch.int32).view(-1, 2)


def normals(key: Tensor, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Independent standard normal numbers of these shapes, in torch's default precision; `key` (2,)."""
    sizes = [prod(shape) for shape in shapes.values()]
    parts = normal(key, sum(sizes)).split(sizes)
    return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def normal(key: Tensor, count: int) -> Tensor:
    """`count` standard normal numbers, in torch's default precision, by the Box-Muller transform (1958); `key` (2,)."""
    half = (count + 1) // 2
    first, second = (bits(key, start, half) for start in (0, half))
    kind = torch.get_default_dtype()
    share = (_shifted(first, 8).to(kind) + 0.5) * 2**-24  # in (0, 1]: never zero, as its logarithm is taken
    length, angle = (-2 * share.log()).sqrt(), second.to(kind) * (pi * 2**-31)
    return torch.cat([length * angle.cos(), length * angle.sin()])[:count]


def chances(key: Tensor, shape: tuple[int, ...], probability: float) -> Tensor:
    """Independent booleans of this shape, each True with that probability, to 24 bits; `key` (2,)."""
    return (_shifted(bits(key, 0, prod(shape)), 8) < round(probability * 2**24)).view(shape)


def bits(key: Tensor, start: int, count: int) -> Tensor:
    """`count` random 32-bit words, as int32, from index `start` on; `key` (2,). Products wrap around."""
    x = torch.arange(start, start + count, dtype=torch.int32, device=key.device) + key[0]
    for part, (shift, factor) in zip((key[1], 0, 0), ROUNDS, strict=True):
        x = (x ^ _shifted(x, shift)) * _signed(factor) ^ part
    return x ^ _shifted(x, LAST)


def _shifted(x: Tensor, places: int) -> Tensor:
    """Logical right shift: int32's own shift would fill in the sign."""
    return (x >> places) & ((1 << (32 - places)) - 1)


def _signed(word: int) -> int:
    """The same 32 bits as a signed int32."""
    return word - (1 << 32) if word >> 31 else word
