"""Stacks of single frames, by index, against a plain loop over environments and steps."""

import pytest
import torch

from agents.data.frames import Frames, _packed, _stacked, pushed

MEMBERS, NUM_ENVS, ROWS, STACK = 2, 3, 7, 4


def filled(compile: bool) -> Frames:
    frames = Frames(ROWS, MEMBERS, NUM_ENVS, (5, 6), "uint8", STACK, "cpu", compile)
    draw = torch.Generator().manual_seed(0)
    for row in range(ROWS):
        ages = torch.randint(STACK, (MEMBERS, NUM_ENVS), generator=draw)
        frames.write(row, slice(None), torch.randint(256, (MEMBERS, NUM_ENVS, 5, 6), dtype=torch.uint8, generator=draw), ages)
    return frames


@pytest.mark.parametrize("compile", [False, pytest.param(True, marks=pytest.mark.filterwarnings("ignore::DeprecationWarning"))])
def test_stacks_are_those_of_a_loop(compile: bool) -> None:
    frames, draw = filled(compile), torch.Generator().manual_seed(1)
    rows, columns = (torch.randint(top, (MEMBERS, 11), generator=draw) for top in (ROWS, NUM_ENVS))
    found = frames.observations(rows, columns)
    assert found.shape == (MEMBERS, 11, STACK, 5, 6) and found.movedim(2, -1).is_contiguous()
    for member in range(MEMBERS):
        for i, (row, column) in enumerate(zip(rows[member].tolist(), columns[member].tolist(), strict=True)):
            age = int(frames.ages[row, member, column])
            for place, back in enumerate((3, 2, 1, 0)):  # the oldest first; before an episode's first frame, that frame again
                assert torch.equal(found[member, i, place], frames.frames[(row - min(back, age)) % ROWS, member, column])


def test_four_bytes_as_one_number_are_the_same_four_bytes() -> None:
    frames = torch.arange(256, dtype=torch.uint8).repeat(4).view(8, 128)
    places = torch.tensor([[0, 1, 2, 3], [1, 1, 0, 7]])
    assert torch.equal(_packed(frames, places), _stacked(frames, places))
    assert _packed(frames, places)[1, 127].tolist() == [255, 255, 127, 255]


def test_a_step_later_the_oldest_frame_is_gone_and_a_first_one_fills_the_stack() -> None:
    draw = torch.Generator().manual_seed(2)
    stacks, newest = (torch.randint(256, shape, dtype=torch.uint8, generator=draw) for shape in ((2, 3, 5, 6, 4), (2, 3, 5, 6)))
    first = torch.tensor([[True, False, False], [False, True, False]])
    for kind in (torch.uint8, torch.float32):
        found = pushed(stacks.to(kind), newest.to(kind), first)
        assert found.dtype == kind and found.shape == stacks.shape
        for place in range(4):
            for member in range(2):
                for column in range(3):
                    old = place < 3 and not first[member, column]
                    expected = stacks[member, column, ..., place + 1] if old else newest[member, column]
                    assert torch.equal(found[member, column, ..., place], expected.to(kind))
