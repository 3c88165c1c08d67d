"""Lifting: S networks side by side equal a loop over them, a lone one vmap's of one."""

import pytest
import torch
from torch import Tensor
from torch.func import grad, vmap

from plasticity_rl.interventions import assemble
from plasticity_rl.networks.layers import HeadSpec, Params
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP, Impala, Nature
from plasticity_rl.optim.optimizers import Adam, Net
from plasticity_rl.training.learner import Learner
from plasticity_rl.training.lift import Captured, chunk_size, chunked, lift, stack, write_
from tests.modules import generator, random_params

NETWORKS = {
    "mlp": Network(MLP(width=8, depth=2, norm="layer"), (5,), 3),
    "nature": Network(Nature(width=16, norm="rms"), (2, 36, 36), 3),
    "impala": Network(Impala(width=16), (2, 9, 9), HeadSpec((("value", 1), ("policy", 3)), streams=True, noise=0.5, cosines=4, tasks=2)),
}


def members(kind: str, count: int) -> tuple[list[Params], Tensor]:
    network = NETWORKS[kind]
    params = [network.init(generator(seed)) for seed in range(count)]
    return params, torch.randn(count, 4, *network.inputs, generator=generator(9))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("kind", list(NETWORKS))
def test_networks_side_by_side_are_a_loop_over_networks(kind, count):
    params, x = members(kind, count)
    outputs, features = lift(NETWORKS[kind].apply)(stack(params), x)
    for m in range(count):
        expected_outputs, expected_features = NETWORKS[kind].apply(params[m], x[m])
        torch.testing.assert_close(outputs[m], expected_outputs, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close({name: units[m] for name, units in features.items()}, expected_features, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", list(NETWORKS))
def test_a_lone_member_is_vmaps_of_one(kind, double):
    # The products may be summed in another order: up to rounding in double precision.
    network = NETWORKS[kind]
    params, x = stack([random_params(network)]), torch.randn(1, 4, *network.inputs, generator=generator())

    def gradient(params: Params, x: Tensor) -> Params:
        return grad(lambda params: network.apply(params, x)[0].square().sum())(params)

    torch.testing.assert_close(lift(network.apply)(params, x), vmap(network.apply)(params, x), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(lift(gradient)(params, x), vmap(gradient)(params, x), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("count", [1, 3])
def test_what_all_members_share_is_not_lifted(count):
    table, numbers = torch.arange(6.0).view(2, 3), torch.arange(1.0, count + 1)

    def scaled(table: Tensor, number: Tensor, pair: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        assert table.shape == (2, 3) and number.shape == () and pair["x"].shape == (2,)
        return table * number, table.sum() + pair["x"].sum()

    products, sums = lift(scaled, in_dims=(None, 0, 0))(table, numbers, {"x": torch.ones(count, 2)})
    assert products.tolist() == [(table * (m + 1)).tolist() for m in range(count)]
    assert sums.tolist() == [17.0] * count
    whole, every = lift(scaled, in_dims=(None, 0, None))(table, numbers, {"x": torch.ones(2)})
    assert torch.equal(whole, products) and torch.equal(every, sums)


@pytest.mark.parametrize("count", [1, 3])
def test_a_result_that_no_members_argument_reaches_is_every_members(count):
    shared, own = lift(lambda table, number: (table + 1, number), in_dims=(None, 0))(torch.zeros(2), torch.ones(count))
    assert shared.tolist() == [[1.0, 1.0]] * count and own.tolist() == [1.0] * count


@pytest.mark.parametrize("count", [1, 3])
def test_trees_come_back_as_they_went_in(count):
    params, _ = members("mlp", count)
    nets = stack([Net(each, Adam().init(each)) for each in params])
    after, states = lift(lambda net, states: (net, states))(nets, [{}, {"kept": torch.zeros(count, 2)}])
    assert isinstance(after, Net) and list(after.slots) == list(Adam().slots)
    assert states[0] == {} and states[1]["kept"].shape == (count, 2)
    for name, param in nets.params.items():
        assert torch.equal(after.params[name], param)


@pytest.mark.parametrize(("count", "size"), [(1, 1), (3, 1), (6, 2), (4, 4)])
def test_in_turn_is_all_at_once_and_writes_to_all(count, size):
    def step(params: Params, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        new, reported = lift(lambda params, batch: ({"w": params["w"] * batch["x"].sum()}, {"loss": params["w"].sum()}))(params, batch)
        write_(params, new)
        return reported

    batch = {"x": torch.arange(2.0 * count).view(count, 2)}
    separate, together = ({"w": torch.arange(1.0, 3 * count + 1).view(count, 3)} for _ in range(2))
    place = separate["w"].data_ptr()
    losses = [chunked(step, size)(separate, batch)["loss"].tolist(), step(together, batch)["loss"].tolist()]
    assert losses[0] == losses[1] == [sum((3 * m + 1, 3 * m + 2, 3 * m + 3)) for m in range(count)]
    assert separate["w"].tolist() == together["w"].tolist()
    assert separate["w"].tolist() == [[(4 * m + 1) * (3 * m + i) for i in (1, 2, 3)] for m in range(count)]
    assert separate["w"].data_ptr() == place


def test_members_are_shared_out_equally():
    dense = {members: chunk_size(members, "cpu", False, 1_000) for members in (1, 5, 32, 33, 37, 64, 100, 128)}
    assert dense == {1: 1, 5: 5, 32: 32, 33: 11, 37: 37, 64: 32, 100: 25, 128: 32}
    wide = {members: chunk_size(members, "cpu", False, 2**20 // 3) for members in (1, 2, 5, 6, 10, 32)}
    assert wide == {1: 1, 2: 2, 5: 5, 6: 3, 10: 2, 32: 2}
    assert chunk_size(6, "cpu", False, 2**30) == 2
    assert [chunk_size(5, device, True, 1_000) for device in ("cpu", "cuda")] == [1, 5]
    assert chunk_size(6, "cuda", False, 2**30) == 6


def test_writing_keeps_the_place():
    old, new = {"a": [torch.zeros(2), torch.zeros(1)]}, {"a": [torch.ones(2), torch.full((1,), 3.0)]}
    kept = [tensor.data_ptr() for tensor in old["a"]]
    write_(old, new)
    assert [tensor.tolist() for tensor in old["a"]] == [[1.0, 1.0], [3.0]]
    assert [tensor.data_ptr() for tensor in old["a"]] == kept


class Recorder:
    """A graph that runs Python again: it reads and writes the capture's tensors, and the capture itself runs nothing."""

    def __init__(self) -> None:
        self.captures = 0

    def __call__(self, function):
        self.captures += 1
        returned = {"sum": torch.zeros(())}
        return (lambda: write_(returned, function())), returned


def test_a_captured_function_reads_and_writes_where_it_did():
    total, recorder = torch.zeros(3), Recorder()

    def step(total: Tensor, batch: Params) -> Params:
        total += batch["x"]
        return {"sum": total.sum()}

    captured, plain = Captured(step, varying=(1,), capture=recorder), torch.zeros(3)
    for i in range(1, 8):
        batch = {"x": torch.full((3,), float(i))}
        source = batch["x"].clone()
        found = captured(total, batch)
        found["mine"] = torch.zeros(())  # a caller may add to its result
        assert found["sum"] == step(plain, batch)["sum"] and torch.equal(total, plain)
        assert torch.equal(batch["x"], source)
    assert recorder.captures == 1
    for _ in range(Captured.WARM + 1):  # other shapes are another graph
        captured(total, {"x": torch.ones(1)})
    assert recorder.captures == 2 and torch.equal(total, plain + Captured.WARM + 1)
    with pytest.raises(RuntimeError, match="argument 0 of a captured function has moved"):
        captured(total.clone(), {"x": torch.ones(3)})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a CUDA graph needs a GPU")
def test_a_captured_learner_is_an_uncaptured_one():
    def learned(compile: bool) -> Params:
        network, optimizer = assemble(MLP(width=8), Adam(), (), (5,), 3)
        learner = Learner(
            network,
            lambda params, batch: (network.apply(params, batch["inputs"])[0].square().mean(), {}),
            optimizer,
            (),
            2,
            0,
            "cuda",
            compile,
        )
        for i in range(8):
            learner.update(1e-2, {"inputs": torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(i)).cuda()})
        return learner.net.params

    torch.testing.assert_close(learned(True), learned(False), rtol=1e-4, atol=1e-6)
