"""Random streams, each a pure function of its name: nothing to save, and adding one shifts no other."""

import hashlib


def derive(*name: int | str) -> int:
    """A 63-bit seed for the stream of that name, such as `derive(seed, member, "fresh", 12)`."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, name)).encode()).digest()[:8], "little") >> 1


Member = tuple[int, int]
"""(seed, number): what all random numbers of a member are functions of"""


def members_of(seed: int, count: int) -> tuple[Member, ...]:
    """The members of one seed, from 0."""
    return tuple((seed, number) for number in range(count))
