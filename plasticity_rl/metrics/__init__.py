"""What is measured, one file a family; pure functions of one network, to be lifted over members. docs/metrics.md says what each shows."""

import torch
from torch import Tensor


def finite(name: str, tensor: Tensor) -> Tensor:
    """`tensor` itself. Raises FloatingPointError, which says `name`, where a number in it is infinite or none: some metrics would make a
    plausible number of it, so this comes first. It looks at values: call it outside of lifted and compiled functions."""
    if not torch.isfinite(tensor).all():
        wrong = int((~torch.isfinite(tensor)).sum())
        raise FloatingPointError(f"{name}: {wrong} of {tensor.numel()} numbers are infinite or not a number")
    return tensor
