"""The whole check: ruined networks are recognised, new ones are not, and mistakes are told in a line."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import plasticity_rl
from plasticity_rl.checks import UsageError
from plasticity_rl.checkup.examine import Checkup
from plasticity_rl.checkup.text import table
from plasticity_rl.checkup.trainability import Learned
from plasticity_rl.checkup.verdict import decide

INPUTS = torch.randn(128, 4, generator=torch.Generator().manual_seed(0))


def mlp(activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 32), activation(), nn.Linear(32, 32), activation(), nn.Linear(32, 2))


def seeded(make: Callable[[], nn.Module] = mlp) -> nn.Module:
    torch.manual_seed(5)
    return make()


def checked(module: nn.Module, updates: int = 200, **given: object) -> Checkup:
    return plasticity_rl.check(module, INPUTS, twins=3, pairs=4, updates=updates, **given)  # type: ignore[arg-type]


def test_a_new_network_fits_as_well_as_fresh() -> None:
    found = checked(seeded(), fresh=mlp, actions=(2,))
    assert found.verdict.word == "fits as well as fresh" and found.verdict.lines == () and found.notes == ()
    assert found.trainability.final.value == pytest.approx(1, abs=0.05)
    assert not any(each.stands_out for each in found.measures)


def dead() -> nn.Module:
    """All units of the first layer are never positive."""
    made = seeded()
    with torch.no_grad():
        made[0].bias -= 10  # type: ignore[index]
    return made


def test_a_network_of_dead_units_cannot_fit_and_is_told_which() -> None:
    found = checked(dead())
    assert found.verdict.word == "cannot fit" and "0" in found.verdict.layers
    by = {(each.name, each.layer): each for each in found.measures}
    assert by["dead_fraction", "0"].own == 1.0 and by["dead_fraction", "0"].stands_out
    assert found.trainability.final.high < 0.3
    assert "PyTorch's default" in found.notes[0]


def test_the_advice_for_dead_units_can_be_attached_and_helps() -> None:
    module = dead()
    before, lines = checked(module), checked(module).verdict.lines
    scope = {"module": module, "optimizer": torch.optim.Adam(module.parameters(), lr=1e-3), "inputs": INPUTS}
    code = "\n".join(lines).replace("ReDo(tau=0.1)", "ReDo(tau=0.1, every=1)")
    attached, call = code.rsplit("\n", 1)
    exec(attached, scope)
    for _ in range(2):
        scope["optimizer"].zero_grad()  # type: ignore[attr-defined]
        (module(INPUTS) - 1).square().mean().backward()
        scope["optimizer"].step()  # type: ignore[attr-defined]
        exec(call, scope)
    assert checked(module).trainability.final.value > before.trainability.final.value + 0.3


def test_large_weights_are_recognised_and_the_advice_shrinks_them() -> None:
    module = seeded(lambda: mlp(nn.Tanh))
    with torch.no_grad():
        for param in module.parameters():
            param *= 30
    found = checked(module)
    assert found.verdict.word == "cannot fit" and {"0", "2"} == set(found.verdict.layers)
    scope = {"module": module, "optimizer": torch.optim.Adam(module.parameters(), lr=1e-3), "inputs": INPUTS}
    exec("\n".join(found.verdict.lines), scope)
    assert checked(module).verdict.word == "fits as well as fresh"


def test_a_policy_that_draws_one_action_fits_but_does_not_explore() -> None:
    module = seeded()
    with torch.no_grad():
        module[4].bias.copy_(torch.tensor([40.0, -40.0]))  # type: ignore[index]
    found = checked(module, fresh=mlp, actions=(2,))
    assert found.verdict.word == "fits, but does not explore"
    assert checked(module, fresh=mlp).verdict.word == "fits as well as fresh"  # outputs that are no logits
    scope = {"module": module, "optimizer": torch.optim.Adam(module.parameters()), "inputs": INPUTS}
    exec("\n".join(found.verdict.lines), scope)
    assert checked(module, fresh=mlp, actions=(2,)).verdict.word == "fits as well as fresh"


def test_a_slow_learner_that_gets_there_is_told_apart() -> None:
    pair = ((0.2,) * 8 + (0.9, 0.9), (0.2,) * 8 + (0.91, 0.91))
    twins = ((0.9,) * 10, (0.9,) * 10)
    found = decide(Learned(pair, twins, 100), None, (), (), False)
    assert found.word == "fits as well as fresh" and "it learns them more slowly, 0.38" in found.reading
    assert "slowly" not in decide(Learned(twins, twins, 100), None, (), (), False).reading


def test_too_few_updates_are_not_known() -> None:
    found = checked(seeded(), updates=10, learning_rate=1e-6)
    assert found.verdict.word == "not known" and "twins learn only" in found.verdict.reading


def test_own_targets_have_a_ratio_of_their_own() -> None:
    labels = (INPUTS[:, 0] > 0).long()
    good, bad = checked(seeded(), targets=labels), checked(dead(), targets=labels)
    assert good.targets is not None and bad.targets is not None
    assert good.targets.final.value == pytest.approx(1, abs=0.1) and bad.targets.final.high < 0.3
    assert "your targets" in str(bad) and "own targets" in bad.json()["trainability"]


def test_the_module_and_the_generator_stay_as_they_are() -> None:
    module = seeded()
    before, state = {name: param.clone() for name, param in module.state_dict().items()}, torch.get_rng_state()
    one, two = checked(module, updates=10), checked(module, updates=10)
    assert one == two and torch.equal(torch.get_rng_state(), state) and module.training
    assert all(torch.equal(param, before[name]) for name, param in module.state_dict().items())


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTM(4, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.cell(x[:, None])[0][:, 0]
        return self.head(hidden), hidden.sum(1)


def test_modules_that_cannot_be_traced_are_probed_all_the_same() -> None:
    found = checked(Recurrent(), updates=10)
    assert any("units are not measured" in note for note in found.notes)
    of_layers = {"weight_norm", "gradient_l2", "gradient_dormant_fraction"}  # rows of an LSTM's weights are its gates
    assert {each.name for each in found.measures} == {*of_layers, "readiness", "ntk_rank", "output_scale"}
    odd = checked(nn.Sequential(nn.Linear(4, 8), nn.Softmax(-1), nn.Linear(8, 2)), updates=10)
    assert any("units are not measured: softmax" in note for note in odd.notes)
    normed = checked(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)), updates=10)
    assert any("batch norms use each batch's own statistics" in note for note in normed.notes)


def test_text_fits_into_its_width() -> None:
    found = checked(dead(), updates=10)
    for width in (60, 80):
        text = table([found, found], width, ["good.zip", "bad.zip"])
        lines = [line for line in text.splitlines() if not line.startswith("    ")]
        assert max(map(len, lines)) <= width
        assert "good.zip" in text and "dead units" in text


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(4, 2))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"inputs": INPUTS[:, :3]}, "Sequential fails on inputs of shape (128, 3): RuntimeError"),
        ({"inputs": INPUTS[:10]}, "inputs must hold at least 64 examples, the same number in each, not [10]"),
        ({"inputs": INPUTS * float("nan")}, "inputs are infinite or not a number"),
        ({"fresh": lambda: nn.Linear(4, 2)}, "the new network is of another architecture: 0.weight is (32, 4) here, and missing there"),
        ({"fresh": lambda: seeded()}, "two new networks have the same weights"),
        ({"actions": (3,)}, "actions=(3,) have 3 logits, and the network 2 outputs"),
        ({"targets": torch.zeros(3)}, "there are 128 inputs, and 3 targets"),
        ({"twins": 1}, "twins must lie in [2, 100000], not 1"),
        ({"learning_rate": 2.0}, "learning_rate must lie in (0, 1), not 2.0"),
        ({"module": Bare()}, "Bare has no reset_parameters() to re-initialise it: give a function that makes a new network"),
    ],
)
def test_mistakes_are_told_in_a_line(given: dict, told: str) -> None:
    given = {"module": seeded(), "inputs": INPUTS} | given
    with pytest.raises(UsageError) as caught:
        plasticity_rl.check(given.pop("module"), given.pop("inputs"), **given)
    assert told in str(caught.value) and "\n" not in str(caught.value)
