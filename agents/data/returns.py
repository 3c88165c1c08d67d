"""Returns and advantages of unrolls. Time is axis 0 of every tensor, (T, ...); what follows on it is up to the caller.

For a step t: `rewards`; `discounts`, that of the value that follows it, 0 after a termination; `flows`, 1 where the step after it is of the
same episode and 0 where that episode ended or was cut there; `values` of its observation; `next_values` of the one that came of it, which
after a cut is the episode's last and not the next episode's first.
"""

import torch
from torch import Tensor


def lambda_returns(rewards: Tensor, discounts: Tensor, flows: Tensor, next_values: Tensor, decay: float) -> Tensor:
    """G_t = r_t + discount_t ((1 - decay) v_{t+1} + decay G_{t+1}), with G = v after the last step and where the episode ends.

    Sutton & Barto's lambda-return; with maximal action values it is Q(lambda) as PQN takes it (arXiv 2407.04811).
    """
    found, after = [], next_values[-1]
    for t in range(len(rewards) - 1, -1, -1):
        keep = decay * flows[t]
        after = rewards[t] + discounts[t] * ((1 - keep) * next_values[t] + keep * after)
        found.append(after)
    return torch.stack(found[::-1])


def advantages(rewards: Tensor, discounts: Tensor, flows: Tensor, values: Tensor, next_values: Tensor, decay: float) -> Tensor:
    """Generalised advantage estimates (Schulman et al. 2016, arXiv 1506.02438): sums of temporal-difference errors, decay = lambda."""
    errors = rewards + discounts * next_values - values
    found, after = [], torch.zeros_like(errors[0])
    for t in range(len(rewards) - 1, -1, -1):
        after = errors[t] + discounts[t] * flows[t] * decay * after
        found.append(after)
    return torch.stack(found[::-1])


def vtrace(
    log_ratios: Tensor,
    rewards: Tensor,
    discounts: Tensor,
    flows: Tensor,
    values: Tensor,
    next_values: Tensor,
    clip_rho: float = 1.0,
    clip_c: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """V-trace targets of the values, and advantages of the actions (Espeholt et al. 2018, arXiv 1802.01561, equation 1 and section 4.2).

    `log_ratios` are log pi(a) - log mu(a), of the policy that learns over the one that acted. Both clips are the paper's.
    """
    rho = log_ratios.exp().clamp(max=clip_rho)
    traces = log_ratios.exp().clamp(max=clip_c)
    errors = rho * (rewards + discounts * next_values - values)
    found, after = [], torch.zeros_like(errors[0])
    for t in range(len(rewards) - 1, -1, -1):
        after = errors[t] + discounts[t] * flows[t] * traces[t] * after
        found.append(after)
    targets = values + torch.stack(found[::-1])
    last = torch.zeros_like(flows[:1])
    following = torch.where(torch.cat([flows[:-1], last]) > 0, torch.cat([targets[1:], next_values[-1:]]), next_values)
    return targets, rho * (rewards + discounts * following - values)
