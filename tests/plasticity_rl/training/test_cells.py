"""Groups of members: each member equals one in a learner of its own group, whatever the others' numbers."""

import dataclasses

import pytest
import torch

from plasticity_rl.experiment import word
from plasticity_rl.interventions import L2Init, ReDo, ShrinkAndPerturb, assemble
from plasticity_rl.optim.adamo import AdamO
from plasticity_rl.optim.by_network import ByNetwork
from plasticity_rl.optim.kron import Kron
from plasticity_rl.optim.lion import Lion
from plasticity_rl.optim.optimizers import LAMB, LARS, SGD, UPGD, Adam, Muon, Optimizer, RAdam, RMSprop
from plasticity_rl.optim.schedule_free import ScheduleFree
from plasticity_rl.optim.soap import SOAP
from plasticity_rl.training.cells import Cell, fits
from plasticity_rl.training.learner import Learner
from tests.learners import MEMBERS, SPECS, assert_same, batches, copies, due, loss
from tests.plasticity_rl.training.test_compiled import needs_compiler, of_torch_itself

RATES = (1e-2, 3e-3, 1e-2)  # the first and the last group differ in their parts' numbers alone
SEEDS = (0, 4, 0)
COUNTS = (2, 1, 1)


def numbers(part):
    """The names of a part's floats, by value type alone."""
    return [field.name for field in dataclasses.fields(part) if isinstance(getattr(part, field.name), float)]


def lowered(part, factor):
    """The part with all floats multiplied by a factor a little below 1, which keeps each in its range."""
    return dataclasses.replace(part, **{name: getattr(part, name) * factor for name in numbers(part)})


def cells_of(optimizer, chain, kind):
    """Three groups with their own numbers, and their network."""
    spec, inputs, ends = SPECS[kind]
    cells, networks = [], []
    for factor, members, seed in zip((1.0, 0.9, 0.8), COUNTS, SEEDS, strict=True):
        own = tuple(lowered(each, factor) for each in chain)
        settled = any(each.optimizer() for each in own)  # by the chain
        network, assembled = assemble(spec, optimizer if settled else lowered(optimizer, factor), own, inputs, ends)
        cells.append(Cell(assembled, own, members, seed))
        networks.append(network)
    assert all(network.spec == networks[0].spec for network in networks)
    return cells, networks[0]


def learner_of(network, cells, compile=False):
    first, *others = cells
    return Learner(
        network, lambda p, b: loss(network, p, b), first.optimizer, first.chain, first.members, first.seed, "cpu", compile, others
    )


def rows_of(learner, cell):
    return {name: tensor[learner.rows(cell)] for name, tensor in copies(learner).items()}


def together_is_apart(optimizer, chain, kind, compile=False, tolerance=1e-9):
    cells, network = cells_of(optimizer, chain, kind)
    joint, apart = learner_of(network, cells, compile), [learner_of(network, [cell]) for cell in cells]
    for index, alone in enumerate(apart):
        assert_same(rows_of(joint, index), copies(alone))  # equal at birth, bit for bit
    rates = torch.tensor(RATES).repeat_interleave(torch.tensor(COUNTS))
    for count, batch in enumerate(batches(kind, sum(COUNTS), 5)):
        for values in batch.values():
            values[3] = values[0]
        joint.update(rates, batch)
        for index, alone in enumerate(apart):
            alone.update(RATES[index], {name: values[joint.rows(index)] for name, values in batch.items()})
        if count == 3:
            for each in (joint, *apart):
                each.task_boundary()
    for index, alone in enumerate(apart):
        torch.testing.assert_close(rows_of(joint, index), copies(alone), rtol=tolerance, atol=tolerance)
    return joint


BUILT = [each for each in MEMBERS if lowered(each, 0.9).build() != each.build()]
VARIED = [each for each in MEMBERS if numbers(each) and each not in BUILT]


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("kind", ["mlp", "noisy"])
@pytest.mark.parametrize("intervention", VARIED, ids=word)
def test_numbers_of_every_method_may_differ_between_cells(intervention, kind):
    if kind == "noisy" and getattr(intervention, "loss", "") == "kl":
        kind = "convolutions"  # several heads have no logits
    joint = together_is_apart(Adam(), (due(intervention, "update", 2),), kind)
    assert any(not torch.equal(tensor[0], tensor[3]) for tensor in copies(joint).values())  # visible effect


OPTIMIZERS = [
    SGD(weight_decay=0.1, momentum=0.9, clip_norm=1.0),
    RMSprop(centered=True),
    Adam(weight_decay=0.1, decayed="all"),
    RAdam(beta2=0.9),
    LARS(weight_decay=0.1),
    LAMB(weight_decay=0.1),
    Muon(clip_norm=0.5),
    UPGD(),
    Lion(weight_decay=0.1),
    AdamO(isometry=0.5),
    ScheduleFree(weight_decay=0.1),
    SOAP(every=2, largest=5, epsilon=1e-3),
    Kron(largest=5),
]


def test_every_optimizer_is_listed():
    words = {*Optimizer.__subclasses__(), *Adam.__subclasses__(), *SGD.__subclasses__()} - {ByNetwork}  # which no experiment names
    assert {type(each) for each in OPTIMIZERS} == words


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=word)
def test_numbers_of_every_optimizer_may_differ_between_cells(optimizer):
    joint = together_is_apart(optimizer, (), "mlp")
    assert any(not torch.equal(tensor[0], tensor[3]) for tensor in copies(joint).values())


@pytest.mark.long
@needs_compiler
@of_torch_itself
def test_numbers_may_differ_in_a_compiled_update():
    together_is_apart(Adam(weight_decay=0.1), (L2Init(strength=0.1), ShrinkAndPerturb(clock="update", every=2)), "mlp", True, 1e-5)


def test_a_number_that_is_the_same_in_all_cells_stays_a_float():
    (first, second, _), network = cells_of(Adam(), (L2Init(),), "mlp")
    learner = learner_of(network, [first, first._replace(seed=9), second._replace(chain=first.chain)])
    assert set(learner._hyper.optimizer) == {"beta1", "beta2", "epsilon"} and learner._hyper.chain == [{}]
    assert learner._hyper.optimizer["beta1"].tolist() == [0.9] * 4 + [0.9 * 0.9]
    assert learner.rows(0) == slice(0, 2) and learner.rows(1) == slice(2, 4) and learner.rows(2) == slice(4, 5)


def test_what_fits_differs_in_numbers_alone():
    cell = Cell(Adam(), (ReDo(tau=0.1), L2Init()), 2, 0)
    assert fits(cell, Cell(Adam(beta1=0.5, weight_decay=0.1), (ReDo(tau=0.2), L2Init(strength=0.5)), 7, 3))
    for optimizer, chain in (
        (SGD(), cell.chain),
        (Adam(decayed="all"), cell.chain),
        (Adam(clip_norm=1.0), cell.chain),
        (Adam(), (ReDo(tau=0.1),)),
        (Adam(), (L2Init(), ReDo(tau=0.1))),
        (Adam(), (ReDo(tau=0.1, every=7), L2Init())),
    ):
        assert not fits(cell, Cell(optimizer, chain, 2, 0))
    assert fits(Cell(Adam(clip_norm=1.0), (), 1, 0), Cell(Adam(clip_norm=2.0), (), 1, 0))
    network = assemble(*SPECS["mlp"][:1], Adam(), (), *SPECS["mlp"][1:])[0]
    with pytest.raises(ValueError, match="float hyperparameters only"):
        learner_of(network, [Cell(Adam(), (), 1, 0), Cell(SGD(), (), 1, 0)])


def test_a_part_is_the_learner_of_its_cell():
    cells, network = cells_of(Adam(), (ReDo(tau=0.5, every=2),), "mlp")
    joint = learner_of(network, cells)
    parts = [joint.part(cell) for cell in range(3)]
    for batch in batches("mlp", 4, 3):
        joint.update(1e-2, batch)
    joint.task_boundary()
    for cell, part in enumerate(parts):
        assert_same(copies(part), rows_of(joint, cell))
        assert part.inputs is not None and torch.equal(part.inputs, batch["inputs"][joint.rows(cell)])
        alone = learner_of(network, [cells[cell]])
        assert_same(part.fresh("reference"), alone.fresh("reference"))
        assert part.ticks == {"update": 3, "task": 1} and part.members == cells[cell].members and part.chain == cells[cell].chain
        assert torch.equal(part.rate, torch.full((part.members,), 1e-2))
        alone.load(part.tensors(), part.ticks)
        assert_same(alone.tensors(), part.tensors())
    lone = learner_of(network, cells[:1])
    assert lone.part(0) is lone
