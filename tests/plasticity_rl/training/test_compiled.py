"""The compiled update against the eager one."""

import warnings

import pytest
import torch

from plasticity_rl.interventions import (
    AID,
    L2Init,
    NormalizeAndProject,
    ReDo,
    Reset,
)
from plasticity_rl.networks.specs import MLP, Nature
from plasticity_rl.optim.optimizers import SGD
from plasticity_rl.training.compilation import can_compile
from plasticity_rl.training.learner import Learner
from tests.plasticity_rl.training.learners import batches, copies, learn


def compiles() -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return can_compile()


needs_compiler = pytest.mark.skipif(not compiles(), reason="no C++ compiler with Python's headers")
of_torch_itself = pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")


def assert_compiled_is_eager(learners: list[Learner], count: int, size: int, tolerance: float) -> None:
    """Both learners make the same updates and pass a task boundary; after the first, nothing is compiled again."""
    fast, slow = learners
    data = batches(fast, count, size)
    torch.compiler.reset()
    try:
        for step, batch in enumerate(data):
            rate = 1e-3 * (1 + step)
            reported, expected = fast.update(rate, batch), slow.update(rate, batch)
            torch.testing.assert_close(reported, expected, rtol=tolerance, atol=tolerance)
            torch.compiler.set_stance("fail_on_recompile")
            if step == count // 2:
                for learner in learners:
                    learner.task_boundary()
        torch.testing.assert_close(copies(fast), copies(slow), rtol=tolerance, atol=tolerance)
        with pytest.raises(RuntimeError, match="recompile"):  # the stance detects compilation
            fast.update(1e-3, batches(fast, 1, size + 1)[0])
    finally:
        torch.compiler.set_stance("default")
        torch.compiler.reset()


@needs_compiler
@of_torch_itself
def test_a_compiled_chain_is_the_eager_one_and_compiles_once():
    chain = (NormalizeAndProject(), AID(), L2Init(), ReDo(every=2, tau=0.3), Reset(part="heads"))
    learners = [learn(chain, MLP(width=16, depth=2), members=5, compile=compile) for compile in (True, False)]
    birth = copies(learners[0])
    # Inductor has crashed on this chain, which a graph in its cache would hide.
    from torch._functorch import config as of_autograd
    from torch._inductor import config as of_inductor

    with of_inductor.patch(fx_graph_cache=False), of_autograd.patch(enable_autograd_cache=False):
        assert_compiled_is_eager(learners, 6, 8, 1e-5)
    assert all(not torch.equal(birth[f"params/{name}"], param) for name, param in learners[0].net.params.items())


@pytest.mark.long
@needs_compiler
@of_torch_itself
def test_a_compiled_nature_is_the_eager_one_and_compiles_once():
    learners = [learn((), Nature(width=16), (4, 36, 44), optimizer=SGD(momentum=0.9), compile=compile) for compile in (True, False)]
    assert_compiled_is_eager(learners, 3, 2, 1e-5)
