"""Sampling in proportion to priorities: a two-level sum, of blocks and of priorities, so that a draw reads two short rows."""

import torch
import torch.nn.functional as F
from torch import Tensor


class Priorities:
    """`count` priorities for each of S independent members, initially 0."""

    def __init__(self, members: int, count: int, device: str) -> None:
        self._block = max(int(count**0.5), 1)
        blocks = -(-count // self._block)
        self.values = torch.zeros(members, blocks * self._block, device=device)
        self._sums = torch.zeros(members, blocks, device=device)

    def write(self, index: Tensor, values: Tensor) -> None:
        """Set the priorities at `index` (S, n) to non-negative `values` (S, n). A repeated index takes one of its values."""
        self.values.scatter_(1, index, values)
        blocks = index // self._block
        self._sums.scatter_(1, blocks, self._rows(blocks).sum(-1))

    def write_row(self, start: int, stop: int, values: Tensor | float) -> None:
        """Set the priorities from `start` to `stop` (exclusive) to `values`, (S, stop - start) or one number."""
        self.values[:, start:stop] = values
        first, last = start // self._block, (stop - 1) // self._block + 1
        self._sums[:, first:last] = self.values.view(len(self.values), -1, self._block)[:, first:last].sum(-1)

    def clear(self) -> None:
        """Set all priorities to 0."""
        self.values.zero_()
        self._sums.zero_()

    def load(self, values: Tensor) -> None:
        """Restore the priorities from `values` (S, count or more)."""
        self.values.copy_(values)
        self._sums.copy_(self.values.view(len(values), -1, self._block).sum(-1))

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return self.values.nbytes + self._sums.nbytes

    @property
    def total(self) -> Tensor:
        """Sum of each member's priorities, (S, 1)."""
        return self._sums.sum(-1, keepdim=True)

    def draw(self, uniform: Tensor) -> Tensor:
        """Indices (S, n) drawn in proportion to their priorities, from uniform numbers (S, n) in [0, 1).

        An index with priority 0 is drawn only if all priorities are 0.
        """
        totals = self._sums.cumsum(-1)
        aim = _below(uniform * totals[:, -1:], totals[:, -1:])
        block = torch.searchsorted(totals, aim, right=True).clamp(max=totals.shape[1] - 1)
        inside = self._rows(block).cumsum(-1)
        rest = _below(aim - F.pad(totals, (1, 0)).gather(1, block), inside[..., -1])
        place = torch.searchsorted(inside, rest[..., None].contiguous(), right=True)[..., 0].clamp(max=self._block - 1)
        return block * self._block + place

    def probability(self, index: Tensor) -> Tensor:
        """Probabilities of drawing each index, (S, n); 0 if all priorities are 0."""
        return self.values.gather(1, index) / self.total.clamp(min=torch.finfo(self.values.dtype).tiny)

    def _rows(self, blocks: Tensor) -> Tensor:
        """Priorities in some blocks (S, n): (S, n, block)."""
        members, n = blocks.shape
        rows = self.values.view(members, -1, self._block)
        return rows.gather(1, blocks[..., None].expand(members, n, self._block))


def _below(numbers: Tensor, limit: Tensor) -> Tensor:
    """Clamp `numbers` below `limit` despite rounding, so that the element found has a priority above 0."""
    return torch.minimum(numbers.clamp(min=0), torch.nextafter(limit, torch.zeros_like(limit)))
