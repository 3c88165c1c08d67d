"""Returns and advantages of rollouts. Time is axis 0 of every tensor, (T, ...); the other axes are arbitrary.

For a step t: `rewards`; `discounts` of the next value, 0 after a termination; `continues`, 1 if the next step belongs to the same episode,
0 if the episode ended or was cut; `values` of its observation; `next_values` of the next observation, which after a cut is the last of the
episode, not the first of the next one.
"""

import torch
from torch import Tensor


def lambda_returns(rewards: Tensor, discounts: Tensor, continues: Tensor, next_values: Tensor, decay: float) -> Tensor:
    """Lambda-returns G_t = r_t + discount_t ((1 - decay) v_{t+1} + decay G_{t+1}), with G = v after the last step and at an episode's end.

    See Sutton & Barto; with maximal action values it is the Q(lambda) of PQN (arXiv 2407.04811). `decay` is lambda.
    """
    found, after = [], next_values[-1]
    for t in range(len(rewards) - 1, -1, -1):
        keep = decay * continues[t]
        after = rewards[t] + discounts[t] * ((1 - keep) * next_values[t] + keep * after)
        found.append(after)
    return torch.stack(found[::-1])


def advantages(rewards: Tensor, discounts: Tensor, continues: Tensor, values: Tensor, next_values: Tensor, decay: float) -> Tensor:
    """Generalised advantage estimates (Schulman et al. 2016, arXiv 1506.02438): decayed sums of TD errors; `decay` is lambda."""
    errors = rewards + discounts * next_values - values
    found, after = [], torch.zeros_like(errors[0])
    for t in range(len(rewards) - 1, -1, -1):
        after = errors[t] + discounts[t] * continues[t] * decay * after
        found.append(after)
    return torch.stack(found[::-1])


def vtrace(
    log_ratios: Tensor,
    rewards: Tensor,
    discounts: Tensor,
    continues: Tensor,
    values: Tensor,
    next_values: Tensor,
    clip_rho: float = 1.0,
    clip_c: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """V-trace targets of the values, and advantages of the actions (Espeholt et al. 2018, arXiv 1802.01561, equation 1 and section 4.2).

    `log_ratios` are log pi(a) - log mu(a): the learning policy over the acting one. Both clips are the paper's defaults.
    """
    rho = log_ratios.exp().clamp(max=clip_rho)
    traces = log_ratios.exp().clamp(max=clip_c)
    errors = rho * (rewards + discounts * next_values - values)
    found, after = [], torch.zeros_like(errors[0])
    for t in range(len(rewards) - 1, -1, -1):
        after = errors[t] + discounts[t] * continues[t] * traces[t] * after
        found.append(after)
    targets = values + torch.stack(found[::-1])
    last = torch.zeros_like(continues[:1])
    following = torch.where(torch.cat([continues[:-1], last]) > 0, torch.cat([targets[1:], next_values[-1:]]), next_values)
    return targets, rho * (rewards + discounts * following - values)
