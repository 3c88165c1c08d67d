"""Tensors are made on the device of their neighbours. On `meta`, tensors have shapes and no values: they refuse mixing with a CPU's
and reading, as a GPU's should, and need no GPU. Permitted reads by the host - actions, rows, pictures, a non-finite loss - are
named here, and answered with zeros."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from agents.diagnostics.rows import Diagnostics
from launch.config.parse import experiment
from launch.run.provenance import machine
from plasticity_rl.experiment import word
from plasticity_rl.interventions import Intervention, ReDo, Refresh, Reset, assemble
from plasticity_rl.optim import optimizers
from plasticity_rl.optim.adamo import AdamO
from plasticity_rl.optim.kron import Kron
from plasticity_rl.optim.lion import Lion
from plasticity_rl.optim.schedule_free import ScheduleFree
from plasticity_rl.optim.soap import SOAP
from plasticity_rl.records.events import Metric
from plasticity_rl.registry import OPTIMIZERS, find
from plasticity_rl.training.learner import Learner
from plasticity_rl.training.lift import Captured, lift
from tests.learners import MEMBERS, REFUSED, SPECS, batches, due, generator, loss
from tests.training import CARTPOLE, LABELS

READERS = {
    "cpu": {"acting/actor.py", "diagnostics/media.py"},
    "tolist": {"diagnostics/rows.py", "diagnostics/probing.py", "loops/base.py", "loops/evaluation.py", "loops/stream.py"},
    "__bool__": {"supervised/base.py", "diagnostics/media.py", "loops/base.py", "loops/stream.py", "metrics/units.py"},
}
"""how the host reads tensors -> files that do so between updates"""
KINDS = (("mlp", 1), ("residual", 3), ("noisy", 2))


class Made(TorchDispatchMode):
    """Record the operations that make a tensor on the CPU; numbers, which are a part of a kernel's call, do not count."""

    def __init__(self) -> None:
        super().__init__()
        self.there: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if any(isinstance(each, torch.Tensor) and each.device.type == "cpu" and each.ndim for each in tree_leaves(made)):
            self.there.add(str(func))
        return made


def watched(function: Any, made: Made) -> Any:
    def called(*given: Any) -> Any:
        with made:
            return function(*given)

    return called


def on_meta(
    chain: tuple[Intervention, ...], kind: str, members: int, optimizer: optimizers.Optimizer | None = None
) -> tuple[Learner, Made]:
    """A learner on `meta`, and its updates' tensors on the CPU."""
    spec, inputs, ends = SPECS[kind]
    network, optimizer = assemble(spec, optimizer or optimizers.Adam(), chain, inputs, ends)
    learner = Learner(
        network, lambda params, batch: loss(network, params, batch), optimizer, chain, members, 0, device="meta", compile=False
    )
    made = Made()
    learner._step = watched(learner._step, made)
    return learner, made


def updated(learner: Learner, kind: str) -> None:
    """Make two updates, the second one measured, and end a task."""
    for measure, batch in zip((False, True), batches(kind, learner.members, 2), strict=True):
        learner.update(1e-2, {name: tensor.to("meta") for name, tensor in batch.items()}, measure=measure)
    learner.task_boundary()
    assert {tensor.device.type for tensor in learner.tensors().values()} == {"meta"}


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize(("kind", "members"), KINDS)
@pytest.mark.parametrize("each", MEMBERS, ids=word)
def test_every_intervention_learns_and_refreshes_where_its_network_is(each, kind, members):
    if kind in REFUSED.get(each, REFUSED.get(type(each), ())):
        return
    clocks = ("update", "task") if isinstance(each, Refresh) and kind != "residual" else ("update",)
    for clock in clocks:
        learner, made = on_meta((due(each, clock, 1),), kind, members)
        updated(learner, kind)
        assert not made.there


@pytest.mark.parametrize("each", MEMBERS, ids=word)
def test_every_state_is_made_where_its_network_is(each):
    """The method's init alone, without a learner, which would move it."""
    spec, inputs, ends = SPECS["mlp"]
    network = assemble(spec, optimizers.Adam(), (each,), inputs, ends)[0]
    params = {name: torch.empty(shape, device="meta") for name, shape in network.shapes.items()}
    assert {tensor.device.type for tensor in each.init(params, network.layers, generator()).values()} <= {"meta"}


def test_a_method_without_a_penalty_adds_a_zero_of_the_networks_device():
    params = {"weight": torch.empty(2, 3, device="meta")}
    assert lift(lambda params: Intervention().penalty(params, {}, (), None))(params).device.type == "meta"


def test_a_state_that_is_made_on_the_processor_is_moved():
    class Careless(Intervention):
        def init(self, params, layers, generator):
            return {"count": torch.zeros(())}

        def after_step(self, net, state, grads, layers, seen):
            return net, {"count": state["count"] + next(iter(net.params.values())).sum()}

    learner, made = on_meta((Careless(),), "mlp", 2)
    updated(learner, "mlp")
    assert not made.there


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize(
    "optimizer",
    [
        optimizers.SGD(momentum=0.9, weight_decay=0.1, clip_norm=1.0),
        optimizers.RMSprop(centered=True),
        optimizers.Adam(),
        optimizers.RAdam(),
        optimizers.LARS(),
        optimizers.LAMB(),
        optimizers.Muon(),
        optimizers.UPGD(),
        Lion(),
        AdamO(),
        ScheduleFree(),
        SOAP(),
        Kron(),
    ],
    ids=lambda each: type(each).__name__,
)
def test_every_optimizer_steps_where_its_network_is(optimizer, members):
    refresh = Reset(clock="update", every=1, part="heads") if optimizer.per_tensor else ReDo(every=1)
    learner, made = on_meta((refresh,), "noisy", members, optimizer)
    updated(learner, "noisy")
    assert not made.there


def test_the_optimizers_are_all_that_there_are():
    tried = test_every_optimizer_steps_where_its_network_is.pytestmark[0].args[1]
    assert {type(each) for each in tried} == {find("optimizer", word) for word in OPTIMIZERS}


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Answer the host's reads of `meta` with zeros or True in the files of READERS, refuse others, and yield them."""
    made: set[str] = set()

    def answer(way: str, files: set[str]) -> None:
        real = getattr(torch.Tensor, way)

        def read(tensor: torch.Tensor) -> Any:
            caller = Path(sys._getframe(1).f_code.co_filename)
            name = f"{caller.parent.name}/{caller.name}"
            if tensor.device.type != "meta" or name not in files:
                return real(tensor)
            made.add(f"{way} {name}")
            return way == "__bool__" or real(torch.zeros(tensor.shape, dtype=tensor.dtype))

        monkeypatch.setattr(torch.Tensor, way, read)

    for way, files in READERS.items():
        answer(way, files)
    yield made


GAMES = CARTPOLE | {"benchmark": "cartpole:tasks=2,frames=120", "diagnose_every": 10, "evaluate": 1, "checkpoint_every": 60}
SWINGS = GAMES | {"benchmark": "envpool:ids=Pendulum-v1,kwargs=max_episode_steps=10,shifts=offset,tasks=2,frames=120"}
STREAMS = LABELS | {"benchmark": "random-labels:images=60,tasks=2,updates=20", "diagnose_every": 10, "curvature_every": 20}
NUMBERS = STREAMS | {"benchmark": "teachers:tasks=2,updates=20"}
PROBED = {"curvature_every": 20, "probe_every": 20, "probe_updates": 2}
DQN = "dqn:num_envs=4,batch_size=8,replay=80,min_replay=40,target_every=5"
ROLLOUTS = "num_envs=4,rollout_length=5,minibatches=2"
RUNS = {
    "dqn": GAMES | PROBED | {"agent": DQN},
    "double, dueling, c51": GAMES | {"agent": f"{DQN},double=true,dueling=true,value=c51,rewards=scale"},
    "two-hot, prioritised": GAMES | {"agent": f"{DQN},value=two-hot,priority_exponent=0.5,n_step=3"},
    "noisy iqn, prioritised": GAMES | {"agent": f"{DQN},value=iqn,fractions=4,noise=0.5,priority_exponent=0.5"},
    "pqn": GAMES | {"agent": f"pqn:{ROLLOUTS}"},
    "ppo": GAMES | {"agent": f"ppo:{ROLLOUTS},rewards=scale-per-visit"},
    "impala": GAMES | {"agent": f"impala:{ROLLOUTS}"},
    "sac": SWINGS | {"agent": f"{DQN.replace('dqn', 'sac')},train_every=4"},
    "td3": SWINGS | PROBED | {"agent": f"{DQN.replace('dqn', 'td3')},train_every=4,rewards=scale,n_step=3"},
    "gaussian ppo": SWINGS | {"agent": f"ppo:{ROLLOUTS},epochs=1,policy=gaussian,rewards=scale-per-visit"},
    "cross-entropy": STREAMS | PROBED,
    "mse": NUMBERS | {"agent": "supervised:batch_size=8,objective=mse"},
    "two-hot": NUMBERS | {"agent": "supervised:batch_size=8,objective=two-hot"},
    "hl-gauss": NUMBERS | {"agent": "supervised:batch_size=8,objective=hl-gauss"},
}


SLOW = [name for name in RUNS if name not in ("noisy iqn, prioritised", "ppo", "hl-gauss")]


@pytest.mark.parametrize(
    ("name", "members"),
    [("noisy iqn, prioritised", 2), ("ppo", 1), ("hl-gauss", 2)]
    + [
        pytest.param(name, members, marks=pytest.mark.long)
        for name in SLOW
        for members in ((2,) if RUNS[name]["benchmark"] == SWINGS["benchmark"] else (1, 2))
    ],
)
def test_every_agent_acts_learns_and_reports_on_the_device_that_it_is_given(name, members, host, monkeypatch):
    """A whole run, with replay, priorities, evaluations, metrics, probes, pictures, a change of task, refreshes and checkpoints."""
    made, step = Made(), Learner._write_step
    monkeypatch.setattr(Learner, "_write_step", lambda learner, *given: watched(step.__get__(learner), made)(*given))
    run = experiment(RUNS[name] | {"members": members, "chain": ["redo:every=5", "reset"]})
    found = list(run.agent.train(run, "meta", False, None))
    assert sum(isinstance(event, Metric) for event in found) > 50
    assert "tolist diagnostics/rows.py" in host and not made.there


def test_a_graph_is_captured_on_the_device_of_its_tensors(monkeypatch):
    given, inside = list[torch.Tensor](), list[torch.Tensor]()

    class On:
        def __init__(self, tensor: torch.Tensor) -> None:
            self.tensor = tensor

        def __enter__(self) -> None:
            inside.append(self.tensor)

        def __exit__(self, *_: object) -> None:
            inside.clear()

    def capture(function: Any) -> Any:
        given.extend(inside)
        return function, {}

    monkeypatch.setattr(torch.cuda, "device_of", On)
    captured, total = Captured(lambda total, batch: {}, varying=(1,), capture=capture), torch.zeros(3)
    for _ in range(Captured.WARM + 1):
        captured(total, torch.ones(3))
    assert given == [total] and given[0] is total


def test_a_second_gpu_is_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"the GPU {device}")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: {"cuda:1": 3_000_000}[device])
    learner = on_meta((), "mlp", 1)[0]
    diagnostics = Diagnostics(learner, experiment(LABELS))
    learner.device = "cuda:1"
    assert machine("cuda:1")["device"] == "the GPU cuda:1" and machine("cpu")["device"] == "cpu"
    assert diagnostics._memory() == 3.0
