"""Calibrated partial resets beside a plain reading, weight by weight."""

import math

import pytest
import torch

from plasticity_rl.interventions import CalibratedPartialResets
from tests.learners import SPECS, assert_same, built, evidence_for, generator, random_like, random_net, seen
from tests.refreshes import READERS, columns_by_hand

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("kind", list(SPECS))
def test_units_move_toward_new_ones_by_their_lack_of_gradient(kind: str) -> None:
    network = built(kind)
    net, evidence = random_net(network), evidence_for(network, random_net(network))
    method = CalibratedPartialResets(rate=0.3, sharpness=3.0, threshold=0.9, decay=0.8)
    state = method.init(net.params, network.layers, generator())
    utilities = {layer: [1.0] * len(state[layer]) for layer in READERS[kind]}
    for seed in range(2):
        grads = random_like(net.params, seed)
        _, state = method.after_step(net, state, grads, network.layers, seen(network))
        for layer, of in utilities.items():
            rows = [row.abs().mean().item() for row in grads[f"{layer}.weight"]]
            utilities[layer] = [0.8 * u + 0.2 * row / (sum(rows) / len(rows) + 1e-8) for u, row in zip(of, rows, strict=True)]
    params = {name: param.clone() for name, param in net.params.items()}
    for layer, of in utilities.items():
        for unit, utility in enumerate(of):
            share = 0.3 * min(2 / (1 + math.exp(3.0 * (utility - 0.9))), 1.0)
            for name in (f"{layer}.weight", f"{layer}.weight_noise"):
                if name in params:
                    params[name][unit] = (1 - share) * params[name][unit] + share * evidence.fresh[name][unit]
            for reader, columns in columns_by_hand(kind, layer, unit).items():
                params[reader][:, columns] *= 1 - share
    after, started = method.refresh(net, state, evidence, network.layers)
    torch.testing.assert_close(after.params, params, rtol=1e-7, atol=1e-12)
    for slot, tensors in net.slots.items():
        assert_same(after.slots[slot], tensors)
    assert all((utility == 1).all() for utility in started.values())


def test_shares_by_hand() -> None:
    network = built("mlp")
    net, evidence = random_net(network), evidence_for(network, random_net(network))
    state = {layer: torch.ones(8) for layer in READERS["mlp"]}
    state["hidden0"][1] = 0.2  # below the threshold: the largest share
    state["hidden0"][2] = 1 + math.log(3) / 16  # 2 sigmoid(-ln 3) = 1/2
    after, _ = CalibratedPartialResets().refresh(net, state, evidence, network.layers)
    old, new, fresh = (params["hidden0.weight"] for params in (net.params, after.params, evidence.fresh))
    torch.testing.assert_close(new[:2], 0.985 * old[:2] + 0.015 * fresh[:2])
    torch.testing.assert_close(new[2], 0.9925 * old[2] + 0.0075 * fresh[2])
