"""TD3: its loss and gradients, its delayed policy and targets, and its noise, against plain PyTorch."""

import torch
from torch import Tensor
from torch.func import grad

from agents.loops.replay import ReplayLoop
from agents.td3 import TD3
from launch.config.parse import experiment
from plasticity_rl.optim.optimizers import Adam
from plasticity_rl.training.learner import Learner
from plasticity_rl.training.update import HELD
from tests.agents.plain import ACTIONS, BATCH, STATES, Plain, PlainTD3, batch, beside, built, drawn, names_of
from tests.learners import generator
from tests.training import PENDULUM

SAID = PENDULUM | {"agent": PENDULUM["agent"].replace("sac", "td3"), "diagnose_every": 1000}
SAID |= {"benchmark": "envpool:ids=Pendulum-v1,frames=160"}


def test_the_loss_and_its_gradients_are_those_of_two_losses_apart() -> None:
    """None of the policy's gradient reaches the first critic, through which it flows, and none of the critics' the actor."""
    agent, network, given = TD3(), built(TD3()), batch(0, BATCH, ACTIONS)
    params, target = network.init(generator(1)), network.init(generator(2))
    plain = PlainTD3(params)
    plain.targets = Plain(target).nets
    losses = plain.losses(given)
    torch.testing.assert_close(agent.loss(network, params, given, target)[0], sum(losses.values()))
    found = grad(lambda own: agent.loss(network, own, given, target)[0])(params)
    for part, networks in (("actor", ("actor",)), ("critics", ("critic0", "critic1"))):
        theirs = torch.autograd.grad(losses[part], plain.parts[part], retain_graph=True)
        for name, other in zip((name for each in networks for name in names_of(each)), theirs, strict=True):
            assert other.any()
            torch.testing.assert_close(found[name], other, rtol=1e-4, atol=1e-6)


def test_a_run_is_a_plain_one_on_its_batches() -> None:
    """Critics, actor and targets of both members, through a whole run, in which actor and targets move with every second update."""

    def compare(loop: ReplayLoop, others: list[Plain]) -> None:
        for member, plain in enumerate(others):
            for name, theirs in plain.params.items():
                torch.testing.assert_close(loop.learner.one(member)[name], theirs, rtol=1e-3, atol=2e-5)
            for name, theirs in plain.target_params.items():
                torch.testing.assert_close(loop.target[name][member], theirs, rtol=1e-3, atol=2e-5)

    assert beside(SAID, PlainTD3, compare) == (160 - 40) // 4


def test_between_two_updates_of_it_the_policy_and_its_optimizer_stay_bit_for_bit() -> None:
    """Also under weight decay, which moves weights without a gradient; the critics move with every update."""
    agent, network = TD3(), built(TD3())
    target = {name: each[None] for name, each in network.init(generator(5)).items()}
    learner = Learner(network, lambda *given: agent.loss(network, *given), Adam(weight_decay=0.1), (), 1, 0, compile=False)
    for update in range(6):
        before = {name: tensor.clone() for name, tensor in learner.tensors().items() if name.startswith(("params/", "slots/"))}
        held = torch.tensor([update % 3 != 2])
        given = {name: tensor[None] for name, tensor in batch(10 * update, BATCH, ACTIONS).items()}
        learner.update(1e-3, given | {f"{HELD}actor": held}, target)
        for name, tensor in before.items():
            of_actor = name.rpartition("/")[2].startswith("actor.")
            assert torch.equal(learner.tensors()[name], tensor) == (of_actor and bool(held)), name
    ages = {name: tensor.unique().tolist() for name, tensor in learner.tensors().items() if name.startswith("slots/seen1/")}
    for name, (age,) in ages.items():  # running averages of ones, 1 - 0.9^t after t updates
        assert abs(age - (1 - 0.9 ** (2 if "/actor." in name else 6))) < 1e-6


def test_every_second_update_is_one_of_the_policy() -> None:
    made = experiment(SAID)
    loop = ReplayLoop(made.agent, made, "cpu", False)
    make, held = loop._batch, list[list[bool]]()
    loop._batch = lambda update: (held.append((found := make(update))[0][f"{HELD}actor"].tolist()), found)[1]
    for _ in loop.run(None):
        pass
    assert held == [[True, True], [False, False]] * 15


def test_smoothing_is_limited_and_actions_stay_within_bounds() -> None:
    """A critic that returns the first number of the action shows what the target policy plays."""
    agent, network = TD3(smoothing=0.2, smoothing_limit=0.5), built(TD3())
    params = {name: torch.zeros_like(each) for name, each in network.init(generator(1)).items()}
    for critic in ("critic0", "critic1"):  # max(a, 0) - max(-a, 0)
        params[f"{critic}.hidden0.weight"][:2, STATES] = torch.tensor([1.0, -1.0])
        params[f"{critic}.hidden1.weight"][:2, :2] = torch.eye(2)
        params[f"{critic}.weight"][0, :2] = torch.tensor([1.0, -1.0])
    normal = torch.tensor([-9.0, -2.6, -1.0, 0.0, 1.0, 2.6, 9.0])[:, None].expand(-1, ACTIONS)
    given = {name: tensor[:7] for name, tensor in batch(0, BATCH, ACTIONS).items()}
    given |= {"normal": normal, "discounts": torch.ones(7), "returns": torch.zeros(7), "task": torch.zeros(7, dtype=torch.int64)}
    given["inputs"] = torch.zeros_like(given["inputs"])  # whose value is 0, so that each critic's error is the value of the next action

    def played(mean: float) -> Tensor:
        target = params | {"actor.bias": torch.full((ACTIONS,), mean).atanh()}
        each = [agent.loss(network, params, given | {"weights": 7.0 * torch.eye(7)[row]}, target)[0] for row in range(7)]
        return (torch.stack(each) / 2).sqrt()  # two critics' squares; that of the policy's action is 0

    torch.testing.assert_close(played(0.0), torch.tensor([0.5, 0.5, 0.2, 0.0, 0.2, 0.5, 0.5]))
    torch.testing.assert_close(played(0.7), torch.tensor([0.2, 0.2, 0.5, 0.7, 0.9, 1.0, 1.0]))


def test_actions_have_noise_in_training_alone() -> None:
    agent, network = TD3(exploration=0.1), built(TD3())
    params, states, normal = network.init(generator(1)), drawn(0, 4, STATES), 3 * drawn(2, 4, ACTIONS)
    params["actor.bias"] += 1.5
    uniform = torch.rand(4, 1 + ACTIONS, generator=generator(3))
    means = PlainTD3(params).nets["actor"](states).tanh().detach()

    def played(normal: Tensor, epsilon: float) -> Tensor:
        shared = {"epsilon": torch.tensor(epsilon), "task": torch.tensor(0)}
        return agent.act(network, params, states, {"uniform": uniform, "normal": normal}, shared)["actions"]

    torch.testing.assert_close(played(normal, 0.0), (means + 0.1 * normal).clamp(-1, 1))
    torch.testing.assert_close(played(torch.zeros_like(normal), 0.0), means)
    assert (played(normal, 0.0) == 1).any() and torch.equal(played(normal, 1.0), 2 * uniform[:, 1:] - 1)
