"""SimBa's and BRO's networks: their outputs by the papers' formulas, and their layers."""

import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from launch.config.parse import experiment
from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import FeatureNorm, FeatureTrustRegion, InFeR, Intervention, assemble
from plasticity_rl.networks.layers import Params
from plasticity_rl.networks.modules import ModuleNetwork
from plasticity_rl.networks.residual import BroNet, Simba
from plasticity_rl.optim.optimizers import Adam
from plasticity_rl.records.events import Metric, Score
from tests.training import LABELS, events


def dense(params: Params, name: str, x: Tensor) -> Tensor:
    return x @ params[f"{name}.weight"].T + params[f"{name}.bias"]


def normed(params: Params, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[1:], params[f"{name}.weight"], params[f"{name}.bias"])


def drawn(network: ModuleNetwork) -> Params:
    """Parameters whose norms have scales and offsets of their own."""
    params = network.init(torch.Generator().manual_seed(1))
    noise = torch.Generator().manual_seed(2)
    return {name: param + 0.1 * torch.randn(param.shape, generator=noise) for name, param in params.items()}


def test_simba_is_a_linear_embedding_and_blocks_behind_layer_norms() -> None:
    network = ModuleNetwork(Simba(width=6, depth=2), (5,), 3)
    params, x = drawn(network), torch.randn(4, 5, generator=torch.Generator().manual_seed(3))
    y = dense(params, "embedding", x)
    for block in ("block0", "block1"):
        y = y + dense(params, f"{block}.down", dense(params, f"{block}.up", normed(params, f"{block}.norm", y)).relu())
    torch.testing.assert_close(network.apply(params, x)[0], dense(params, "head", normed(params, "norm", y)))
    assert network.shapes["block1.up.weight"] == (24, 6)


def test_bro_is_a_normed_embedding_and_blocks_with_a_layer_norm_after_each_layer() -> None:
    network = ModuleNetwork(BroNet(width=6, depth=2), (5,), 3)
    params, x = drawn(network), torch.randn(4, 5, generator=torch.Generator().manual_seed(3))
    y = normed(params, "norm", dense(params, "embedding", x)).relu()
    for block in ("block0", "block1"):
        inner = normed(params, f"{block}.inner_norm", dense(params, f"{block}.up", y)).relu()
        y = y + normed(params, f"{block}.last_norm", dense(params, f"{block}.down", inner))
    torch.testing.assert_close(network.apply(params, x)[0], dense(params, "head", y))


@pytest.mark.parametrize("spec", [Simba(width=6), BroNet(width=6)])
def test_only_units_within_blocks_are_a_layers_own(spec: Simba | BroNet) -> None:
    network = ModuleNetwork(spec, (5,), 3)
    own = {layer.name for layer in network.layers if not layer.head and not layer.shared}
    assert own == {"block0.up", "block1.up"}
    assert pickle.loads(pickle.dumps(spec)) == spec


@pytest.mark.parametrize("word", ["simba", "bro"])
def test_a_run_with_recycling_of_units(word: str) -> None:
    found = events(experiment(LABELS | {"network": f"{word}:width=8,depth=1", "chain": ["redo:every=5", "l2-init"]}))
    assert sum(isinstance(event, Score) for event in found) == 18
    assert "effective_rank/block0.up" in {event.name for event in found if isinstance(event, Metric)}


@pytest.mark.parametrize("method", [InFeR(), FeatureNorm(), FeatureTrustRegion()])
def test_methods_of_the_units_that_heads_read_say_that_there_are_none(method: Intervention) -> None:
    with pytest.raises(UsageError, match=r"needs the units that heads read, and embedding adds to a sum"):
        assemble(Simba(width=6, depth=1), Adam(), (method,), (5,), 3)
