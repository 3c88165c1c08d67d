import numpy as np
import pytest

from envs.reinforcement.backends.envpool import envpool_control
from envs.reinforcement.backends.pool import Opening, Pool, RawStep
from envs.reinforcement.backends.spaces import Box, Discrete
from envs.reinforcement.control import CartPole, Catch
from envs.reinforcement.shifts import Shift, Shifted
from plasticity_rl.checks import UsageError
from plasticity_rl.seeds import derive
from tests.envs.reinforcement.playing import at_random, play


class Fixed:
    """A backend that always shows the features 1, 10 and 100, and keeps the actions sent."""

    autoreset = "NextStep"

    def __init__(self, num_envs: int) -> None:
        self.num_envs, self.observation_space, self.action_space = num_envs, Box((3,)), Discrete(3)
        self.sent: list[list[int]] = []

    def reset(self) -> RawStep:
        nothing = np.zeros(self.num_envs, bool)
        rows = np.tile(np.array([1, 10, 100], np.float32), (self.num_envs, 1))
        return RawStep(rows, nothing.astype(np.float32), nothing, nothing, nothing.astype(int))

    def send(self, actions: np.ndarray) -> None:
        self.sent.append(actions.tolist())

    def recv(self) -> RawStep:
        return self.reset()


def of(shift: Shift, num_envs: int = 1) -> Shift:
    """The same shift in every environment."""
    return Shift(*(None if part is None else np.tile(np.array(part), (num_envs, 1)) for part in shift))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shifts": ("offset", "offset")}, "shifts must be distinct"),
        ({"shifts": ("shuffle",)}, "shifts cannot be 'shuffle'; one of: noise, offset, permute, relabel, rescale"),
        ({"shifts": ()}, "tasks must lie in [1, 1], not 5: without shifts all are the same"),
        ({"shifts": ("relabel",)}, "tasks must lie in [1, 2], not 5"),
        ({"shifts": ("permute",), "tasks": 25}, "tasks must lie in [1, 24], not 25"),
        ({"shifts": ("offset",), "tasks": 10_001}, "tasks must lie in [1, 10000], not 10001"),
        ({"shifts": (), "tasks": 1, "gradual": 0.1}, "gradual=0.1 needs shifts, one or several of offset"),
        ({"gradual": 1.1}, "gradual must lie in [0, 1]"),
        ({"told": False, "heads": "per-task"}, "heads=per-task tells the learner its task: it needs told=true"),
        ({"noise_scale": 0.2}, "noise_scale=0.2 changes nothing without shifts=permute+relabel+noise"),
        ({"offset_scale": 0.0}, "offset_scale must lie in (0, inf)"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        CartPole(**fields)
    assert str(raised.value).startswith(f"CartPole: {message}")


def test_what_a_shift_does_by_hand():
    shift = Shift(np.array([2, 0, 1]), np.float32([0.5, 3, 2]), np.float32([1, -1, 0]), None, np.array([1, 2, 0]))
    backend = Fixed(1)
    pool = Pool(Shifted(backend, of(shift), np.array([3])))
    assert pool.reset().observations.tolist() == [[100 * 0.5 + 1, 1 * 3 - 1, 10 * 2]]
    for action in range(3):
        pool.send(np.array([action]))
        assert pool.recv().observations.tolist() == [[51, 2, 20]]
    assert backend.sent == [[1], [2], [0]]


def test_tasks_are_functions_of_seed_member_task_and_name():
    every = CartPole(shifts=("offset", "rescale", "noise", "permute"), tasks=30)
    alone = {name: CartPole(shifts=(name,), tasks=3) for name in ("offset", "rescale", "noise", "permute")}
    both = [every.drawn(7, member, 30, 4, 2) for member in (0, 1)]
    for member, shifts in enumerate(both):
        for task in (1, 2):
            random = {name: np.random.default_rng(derive(7, member, name, task)) for name in ("offset", "rescale", "observation noise")}
            np.testing.assert_allclose(shifts[task].offset, random["offset"].normal(0, 2, 4), rtol=1e-6)
            np.testing.assert_allclose(shifts[task].scale, np.exp(random["rescale"].normal(0, 1, 4)), rtol=1e-6)
            np.testing.assert_allclose(shifts[task].noise, random["observation noise"].uniform(0, 0.1, 4), rtol=1e-6)
        for name, part in (("offset", "offset"), ("rescale", "scale"), ("noise", "noise"), ("permute", "features")):
            for mixed, single in zip(shifts[:3], alone[name].drawn(7, member, 3, 4, 2), strict=True):
                np.testing.assert_array_equal(getattr(mixed, part), getattr(single, part))
        first = shifts[0]
        assert first.offset.tolist() == [0] * 4 and first.scale.tolist() == [1] * 4 and first.noise.tolist() == [0] * 4
        orders = [tuple(each.features) for each in shifts]
        assert len(set(orders[:24])) == 24 and orders[24:] == orders[:6]  # all of 4! orders, then again
    assert not np.array_equal(both[0][1].offset, both[1][1].offset)


def test_the_dynamics_underneath_are_the_same():
    tasks, seeds = CartPole(shifts=("offset", "rescale"), tasks=2), np.array([[3, 5], [9, 14]])
    actions = at_random(60, 4, 2)
    shifted, plain = (
        play(tasks.pool(tasks.visits()[1], seeds, 1, 7), actions),
        play(envpool_control("CartPole-v1", [3, 5, 9, 14], 1), actions),
    )
    own = [tasks.drawn(7, member, 2, 4, 2)[1] for member in (0, 0, 1, 1)]
    for env, shift in enumerate(own):
        np.testing.assert_array_equal(shifted.observations[:, env], plain.observations[:, env] * shift.scale + shift.offset)
    np.testing.assert_array_equal(shifted.terminated, plain.terminated)
    np.testing.assert_array_equal(shifted.rewards, plain.rewards)


def test_noise_is_new_in_every_step_of_the_size_asked_for_and_each_environments_own():
    shift = of(Shift(noise=np.float32([0.5, 0, 2])), 3)
    steps = play(Pool(Shifted(Fixed(3), shift, np.array([3, 5, 9]))), np.zeros((2000, 3), int)).observations - np.float32([1, 10, 100])
    assert steps[..., 0].std() == pytest.approx(0.5, rel=0.03) and steps[..., 2].std() == pytest.approx(2, rel=0.03)
    assert not steps[..., 1].any() and abs(steps.mean((0, 1))).max() < 0.1
    alone = play(Pool(Shifted(Fixed(1), of(Shift(noise=np.float32([0.5, 0, 2]))), np.array([5]))), np.zeros((2000, 1), int))
    np.testing.assert_array_equal(alone.observations[:, 0] - np.float32([1, 10, 100]), steps[:, 1])  # in any company


def test_a_gradual_change_by_hand():
    tasks = Catch(shifts=("offset",), tasks=3, frames=100, gradual=0.5)
    visits, seeds = tasks.visits(), np.array([[3, 5]])
    offsets = [shift.offset for shift in tasks.drawn(7, 0, 3, 50, 3)]
    plain = play(envpool_control("Catch-v0", [3, 5], 1), np.ones((30, 2), int)).observations

    def added(visit: int, opening: Opening | None) -> np.ndarray:
        """Noise added to the observations of 31 steps."""
        return play(tasks.pool(visits[visit], seeds, 1, 7, opening), np.ones((30, 2), int)).observations - plain

    # A change takes 50 steps; with four environments a member, two of them elsewhere, each step of the pool is four.
    changing = added(2, Opening(step=210, stride=4))
    for step, share in ((0, 0.2), (1, 0.28), (9, 0.92), (10, 1), (30, 1)):
        expected = (1 - share) * offsets[1] + share * offsets[2]
        np.testing.assert_allclose(changing[step], [expected, expected], atol=1e-5)
    np.testing.assert_allclose(added(1, Opening(100, 4))[0, 0], 0, atol=1e-5)  # the old task, the first
    for unchanging in (added(0, Opening(0, 4)), added(0, None)):
        assert not unchanging.any()
    np.testing.assert_allclose(added(2, None), np.broadcast_to(offsets[2], (31, 2, 50)), atol=1e-5)  # as evaluations see it


def test_actions_change_their_meaning_gradually():
    old, new = of(Shift(actions=np.array([0, 1, 2])), 4000), of(Shift(actions=np.array([1, 2, 0])), 4000)
    backend = Fixed(4000)
    pool = Pool(Shifted(backend, new, np.arange(4000), old, lambda steps: (0.0, 0.25, 1.0)[steps]))
    pool.reset()
    for _ in range(3):
        pool.send(np.zeros(4000, int))
        if len(backend.sent) < 3:
            pool.recv()
    assert [np.mean(sent) for sent in (backend.sent[0], backend.sent[2])] == [0, 1]
    assert np.mean(backend.sent[1]) == pytest.approx(0.25, abs=0.02) and max(backend.sent[1]) == 1
