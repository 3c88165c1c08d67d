"""Interventions in Stable-Baselines3's own loop."""

import runpy
from pathlib import Path

import pytest
import torch

pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is an optional extra: pip install 'plasticity-rl[stable-baselines3]'")

EXAMPLE = Path(__file__).parents[3] / "examples" / "attach_stable_baselines3.py"


@pytest.mark.filterwarnings("default")
@pytest.mark.process
def test_redo_and_nap_in_stable_baselines3_s_dqn():
    example = runpy.run_path(str(EXAMPLE))
    chain = (example["NormalizeAndProject"](), example["ReDo"](every=50, tau=0.3))
    model, plasticity = example["train"](600, chain)
    plan = plasticity.plan
    updates = model._n_updates
    assert plan.ticks["update"] == updates == 2 * (600 - 100) // 4
    names = dict(model.q_net.named_parameters())
    assert [layer.weight for layer in plan.layers] == [name for name in names if names[name].ndim == 2] and len(plan.layers) == 3
    assert {id(param) for param in names.values()} == {id(p) for group in model.policy.optimizer.param_groups for p in group["params"]}
    for layer in plan.layers[:2]:
        torch.testing.assert_close(names[layer.weight].norm(), plan.states[0][layer.weight])
        together = torch.cat([names[layer.scale], names[layer.offset]])
        torch.testing.assert_close(together.norm(), torch.tensor(layer.units**0.5))
    state = model.policy.optimizer.state[names[plan.layers[0].weight]]
    assert state["step"] == updates
    assert not model.q_net._forward_pre_hooks
    assert any(name.startswith("reset_steps/") for name in plan.state_dict())  # units were recycled
