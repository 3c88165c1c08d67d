"""What all tests share."""

import torch

torch.set_num_threads(1)  # the workers share the processors: with more threads these tests take nine times as long
