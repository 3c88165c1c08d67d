"""Attention among the tokens of an example."""

from torch import Tensor


def attended(query: Tensor, key: Tensor, value: Tensor, batch: int, heads: int) -> Tensor:
    """softmax(Q K^T / sqrt(d)) V of each of `heads` parts of d units, side by side (Vaswani et al. 2017, arXiv 1706.03762).

    All are (batch x tokens, units), an example's tokens next to each other, and so is what comes out.
    """
    q, k, v = (rows.view(batch, -1, heads, rows.shape[1] // heads).transpose(1, 2) for rows in (query, key, value))
    weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
    return (weights @ v).transpose(1, 2).reshape(query.shape)
