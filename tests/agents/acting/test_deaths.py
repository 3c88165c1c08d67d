"""Actor deaths: actors are replaced, their episodes cut, and repeated deaths end a run."""

import pytest
import torch

from agents.acting.messages import ActorsLost
from agents.acting.remote import DEATHS, FORGIVEN
from agents.impala import IMPALA
from plasticity_rl.records.events import Metric
from tests.agents.acting.backends import ACTORS, MEMBERS, NUM_ENVS, ROLLOUT, WIDTH, Watched, replay_loop
from tests.training import scores


def test_the_dead_are_replaced_and_their_episodes_cut_where_the_rollout_before_ended() -> None:
    junction = 4 * ROLLOUT
    loop, backend, found = replay_loop({(1, junction, 0), (1, junction, 1), (2, 0, 0)})
    assert backend.started[ACTORS:] == [(2, 1), (1, 1), (1, 2)]
    assert sorted(tag[:3] for tag in backend.weights) == sorted(
        (actor, (1 if actor == 2 else 2 * (actor == 1 and step >= junction)), step)
        for actor in range(ACTORS)
        for step in range(0, 40, ROLLOUT)
    )
    data, real = loop.replay.data, loop.replay.real.values.view(MEMBERS, -1)[:, : 41 * NUM_ENVS].view(MEMBERS, 41, NUM_ENVS)
    for member in range(MEMBERS):
        for column in range(WIDTH, 2 * WIDTH):
            local = member * WIDTH + column % WIDTH
            frames = data["frames"][:, member, column, 0] - 1000 * local
            assert frames[: junction + 1].tolist() == list(range(junction + 1))  # the frame after the last step is there
            assert frames[junction + 1 : 40].tolist() == list(range(40 - junction - 1))  # and no step follows from it
            assert data["step_type"][junction - 1, member, column] != 0 and real[member, junction, column] == 0
            assert data["ages"][junction + 1, member, column] == 0
    cut = [row for row in scores(found, "cut") if row.steps == junction * NUM_ENVS]
    assert len(cut) == MEMBERS * WIDTH
    for row, (member, rest) in zip(cut, ((member, rest) for member in range(MEMBERS) for rest in range(WIDTH)), strict=True):
        length, paid = 4 + (member * WIDTH + rest) % 5, 0
        for count in range(1, junction + 1):
            paid = 0 if count % (length + 1) in (0, length) else paid + count  # the step that ends it and the one after pay nothing
        assert (row.member, row.score) == (member, paid)
    deaths = [(event.steps, event.member, event.value) for event in found if isinstance(event, Metric) and event.name == "actor_deaths"]
    assert deaths == [(0, 0, 1), (0, 1, 1), (junction * NUM_ENVS, 0, 3), (junction * NUM_ENVS, 1, 3)]
    sampled, index = loop.replay.sample(torch.rand(MEMBERS, 4000, 2), 3, 0.5)
    rows, columns = index // NUM_ENVS, index % NUM_ENVS
    near = (rows < junction) & (rows >= junction - 3) & (columns // WIDTH == 1)
    steps_on = (sampled["next_inputs"][:, :, -1, 0] - sampled["inputs"][:, :, -1, 0])[near]
    assert near.sum() > 50 and steps_on.min() >= 1 and steps_on.max() <= 3  # never the new pool's numbers


def test_a_rollout_of_a_replacement_is_learned_from_but_for_its_first_step() -> None:
    loop = Watched(IMPALA(num_envs=NUM_ENVS, rollout_length=ROLLOUT, rewards="raw"), 4, dies={(0, 2 * ROLLOUT, 0)})
    for place, batch in enumerate(loop.learned):
        inputs = batch["inputs"].view(MEMBERS, ROLLOUT + 1, NUM_ENVS, 4, 1)[:, :, :WIDTH, -1, 0]
        local = (torch.arange(MEMBERS)[:, None] * WIDTH + torch.arange(WIDTH)) * 1000
        counts = (inputs - local[:, None]).movedim(1, -1)
        before = torch.arange(place * ROLLOUT, (place + 1) * ROLLOUT + 1.0)
        if place >= 2:
            before = before - 2 * ROLLOUT - 1
            before[0] = 2 * ROLLOUT if place == 2 else before[0]
        assert torch.equal(counts, before.expand_as(counts))
        if place == 2:
            assert (batch["real"][:, 0, :WIDTH] == 0).all() and (batch["rewards"][:, 0, :WIDTH] == 0).all()
            assert (batch["real"][:, 1, :WIDTH] == 1).all() and (batch["rewards"][:, 1, :WIDTH] == 1).all()


def test_who_dies_again_and_again_ends_the_run_and_rollouts_forgive() -> None:
    with pytest.raises(ActorsLost, match=r"actor 2 died again and again, 6 deaths .* the last: killed"):
        replay_loop({(2, ROLLOUT, incarnation) for incarnation in range(DEATHS + 1)})
    replay_loop({(2, ROLLOUT, incarnation) for incarnation in range(DEATHS)})
    rollouts = round(1 / FORGIVEN)
    replay_loop({(2, ROLLOUT, each) for each in range(DEATHS)} | {(2, ROLLOUT * (1 + rollouts), DEATHS)})
    with pytest.raises(ActorsLost):
        replay_loop({(2, ROLLOUT, each) for each in range(DEATHS)} | {(2, ROLLOUT * rollouts, DEATHS)})
