"""Normal numbers of a key: their bits by a second reading in Python's own integers, and tests of normality and independence."""

import math
import statistics

import pytest
import torch

from plasticity_rl.noise import bits, key, normal, normals
from plasticity_rl.seeds import derive
from plasticity_rl.training.compilation import compiled
from plasticity_rl.training.lift import lift


def words_by_hand(seed: int, count: int) -> list[int]:
    """The hash in integers of any size, cut to 32 bits: "triple32", with the seed's halves mixed in."""
    low, high, words = seed % 2**32, seed >> 32, []
    for place in range(count):
        x = (place + low) % 2**32
        x ^= x >> 17
        x = x * 0xED5AD4BB % 2**32
        x ^= high
        x ^= x >> 11
        x = x * 0xAC4C1B51 % 2**32
        x ^= x >> 15
        x = x * 0x31848BAB % 2**32
        words.append(x ^ x >> 14)
    return words


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1, 0x1234_5678_9ABC_DEF0])
def test_bits_are_those_of_the_hash(seed):
    found = bits(key([seed])[0], 0, 999)
    assert [word % 2**32 for word in found.tolist()] == words_by_hand(seed, 999)
    assert bits(key([seed])[0], 7, 5).tolist() == found[7:12].tolist()


def test_pairs_of_words_become_pairs_of_normal_numbers():
    words = words_by_hand(5, 8)
    expected = []
    for part in (math.cos, math.sin):
        for first, second in zip(words[:4], words[4:], strict=True):
            angle = (second - (2**32 if second >= 2**31 else 0)) / 2**31 * math.pi
            expected.append(math.sqrt(-2 * math.log(((first >> 8) + 0.5) / 2**24)) * part(angle))
    assert normal(key([5])[0], 7).tolist() == pytest.approx(expected[:7], rel=1e-5, abs=1e-6)


def test_they_are_normal_and_tell_nothing_of_their_neighbours_of_other_keys_and_of_other_updates():
    count = 400_000
    one, other, far = (normal(each, count).double() for each in key([derive(0, 0, "noise", update) for update in range(3)]))
    standard = statistics.NormalDist()
    for numbers in (one, other, far):
        for edge in (-4, -3, -2, -1, -0.5, 0, 0.5, 1, 2, 3, 4):
            expected = standard.cdf(edge)
            error = 5 * math.sqrt(expected * (1 - expected) / count)
            assert (numbers < edge).double().mean().item() == pytest.approx(expected, abs=error)
    assert 4.2 < one.abs().max() < 6
    independent = 5 / math.sqrt(count)
    for first, second in ((one[1:], one[:-1]), (one[: count // 2], one[count // 2 :]), (one, other), (one, far), (one[1:], other[:-1])):
        for power in (1, 2):
            assert abs(torch.corrcoef(torch.stack([first**power, second**power]))[0, 1].item()) < independent


def test_no_bits_make_a_number_that_is_none():
    """A word of zeros would give a length of log 0, and one of ones the log of more than 1."""
    assert (torch.tensor([0.0, 2**24 - 1]) + 0.5).mul(2**-24).log().isfinite().all()
    assert normal(key([3])[0], 2_000_000).isfinite().all()


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")  # by torch itself, where it compiles
def test_compiled_and_lifted_they_are_the_same():
    shapes = {"weight": (5, 7), "bias": (3,), "rest": (2, 3, 11)}
    keys = key([11, 12, 13])
    many = compiled(lift(lambda key: normals(key, shapes)))(keys)
    for member, each in enumerate(keys):
        one = normals(each, shapes)
        assert {name: numbers.shape for name, numbers in one.items()} == shapes
        for name, numbers in one.items():
            torch.testing.assert_close(many[name][member], numbers, rtol=1e-5, atol=1e-6)
    flat = torch.cat([numbers.flatten() for numbers in normals(keys[0], shapes).values()])
    assert torch.equal(flat, normal(keys[0], 35 + 3 + 66))
