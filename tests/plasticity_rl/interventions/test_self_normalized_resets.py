"""Self-normalized resets beside the official code's rules, read unit by unit."""

import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import SelfNormalizedResets, assemble
from plasticity_rl.interventions.base import UpdateContext
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import Adam, Net
from tests.learners import SPECS, built, evidence_for, generator, random_net
from tests.refreshes import READERS, units_by_hand

pytestmark = pytest.mark.usefixtures("double")


class Unit:
    """One unit's history, in plain numbers."""

    def __init__(self, method: SelfNormalizedResets) -> None:
        self.method, self.age, self.seen, self.threshold, self.refreshes = method, 0, [], method.start, 0

    def update(self, fired: bool) -> None:
        if fired and self.age > 0:
            self.seen.append(min(self.age, self.method.bins))
        self.age = 0 if fired else self.age + 1

    def refresh(self) -> bool:
        reset = self.age >= self.threshold
        if reset:
            self.seen.append(min(self.age, self.method.bins))
            self.age = 0
        self.refreshes += 1
        if self.refreshes == self.method.renewal:
            ages = range(1, self.method.bins + 1)
            usual = next(age for age in ages if sum(s <= age for s in self.seen) >= self.method.percentile * len(self.seen))
            usual = usual if self.seen else 0
            self.threshold = max(usual if usual < self.threshold else min(2 * self.threshold, self.method.bins), 1)
            self.seen, self.refreshes = [], 0
        return reset


@pytest.mark.parametrize("kind", list(SPECS))
def test_ages_histograms_and_thresholds_are_those_of_each_unit_alone(kind):
    method, network = SelfNormalizedResets(percentile=0.7, start=4, bins=9, renewal=3), built(kind)
    net, draw = random_net(network), generator(1)
    state = method.init(net.params, network.layers, generator())
    widths = {layer.name: layer.units for layer in network.layers if layer.name in READERS[kind]}
    units = {name: [Unit(method) for _ in range(width)] for name, width in widths.items()}
    chance = {name: torch.rand(width, generator=draw) * 0.5 for name, width in widths.items()}
    resets = 0
    for count in range(1, 61):
        outputs = {name: (torch.rand(3, width, generator=draw) < chance[name]) * 1.0 for name, width in widths.items()}
        outputs = {name: torch.where(torch.arange(len(each[0])) == 1, 0.0, each) for name, each in outputs.items()}  # one never fires
        features = outputs | {layer.name: torch.ones(3, layer.units) for layer in network.layers if layer.shared}
        around = UpdateContext(lambda params, raw=False, features=features: (torch.zeros(()), features), {})
        net, state = method.after_step(net, state, net.params, network.layers, around)
        for name, histories in units.items():
            for unit, history in enumerate(histories):
                history.update(bool(outputs[name][:, unit].any()))
        if count % 4 == 0:
            evidence = evidence_for(network, net, count)
            after, state = method.refresh(net, state, evidence, network.layers)
            marked = {name: [u for u, history in enumerate(histories) if history.refresh()] for name, histories in units.items()}
            touched = units_by_hand(net, kind, marked)
            resets += sum(map(len, marked.values()))
            for name, old in net.params.items():
                assert not (after.params[name] != old)[~touched[name]].any(), name
            for name, marks in marked.items():
                for unit in marks:
                    assert torch.equal(after.params[f"{name}.bias"][unit], torch.tensor(0.0))
        for name, histories in units.items():
            assert state[f"{name}.age"].tolist() == [history.age for history in histories]
            assert state[f"{name}.threshold"].tolist() == [history.threshold for history in histories]
            counts = [[history.seen.count(age) for age in range(1, 10)] for history in histories]
            assert state[f"{name}.counts"].tolist() == counts
    assert resets > 20
    thresholds = {threshold for name in widths for threshold in state[f"{name}.threshold"].tolist()}
    assert len(thresholds) > 3


def test_a_reset_unit_is_a_new_one_that_nobody_hears_and_its_optimizer_is_too():
    method, network = SelfNormalizedResets(start=2, bins=4), built("mlp")
    net = random_net(network)
    state = method.init(net.params, network.layers, generator())
    state["hidden1.age"][3] = 2.0
    evidence = evidence_for(network, net)
    after, _ = method.refresh(net, state, evidence, network.layers)
    touched = units_by_hand(net, "mlp", {"hidden1": [3]})
    for name, old in net.params.items():
        assert torch.equal(after.params[name] != old, touched[name])
        for slot in net.slots:
            assert not after.slots[slot][name][touched[name]].any()
            assert torch.equal(after.slots[slot][name][~touched[name]], net.slots[slot][name][~touched[name]])
    assert torch.equal(after.params["hidden1.weight"][3], evidence.fresh["hidden1.weight"][3])
    assert not after.params["hidden2.weight"][:, 3].any() and after.params["hidden1.bias"][3] == 0


def test_a_rarely_used_unit_is_kept_where_a_fixed_threshold_would_reset_it():
    method, network = SelfNormalizedResets(start=8, bins=64, renewal=1, percentile=0.9), built("mlp")
    net = Net(random_net(network).params, {})
    state = method.init(net.params, network.layers, generator())
    state["hidden0.counts"][0, 39] = 100.0  # fires every 41 updates, as a rule
    state["hidden0.counts"][1, 1] = 100.0  # fires every third
    for _ in range(4):
        _, state = method.refresh(net, state, evidence_for(network, net), network.layers)
        state["hidden0.counts"][0, 39] = state["hidden0.counts"][1, 1] = 100.0
    assert state["hidden0.threshold"][:2].tolist() == [40.0, 4.0]  # 16, 32, 64 and down to 40; 2, 4, 2, 4


def renewed_by_examples(ages: list[int], threshold: int, percentile: float, batch: int, longest: int) -> int:
    """The official rule: ages in examples; an empty histogram's percentile is one example, less than any batch."""
    shares = [(age, sum(each <= age for each in ages) / len(ages)) for age in range(1, longest + 1)] if ages else []
    usual = next((age for age, share in shares if share >= percentile), 1)
    return max(batch, min(usual if usual < threshold else 2 * threshold, longest))


def test_thresholds_are_renewed_as_in_the_official_code_that_counts_examples():
    """Batches of 100 examples make an update an age of 100; some histograms are empty."""
    method, draw, batch = SelfNormalizedResets(percentile=0.9, start=8, bins=16), generator(3), 100
    ours, theirs = torch.full((40,), 8.0), [800] * 40
    for turn in range(12):
        number = 0 if turn % 3 == 2 else 5
        ages = [(torch.rand(number, generator=draw) * (1 + unit % 16)).long() + 1 for unit in range(40)]
        ours = method._renewed(torch.stack([each.bincount(minlength=17)[1:17].double() for each in ages]), ours)
        theirs = [
            renewed_by_examples([batch * age for age in each.tolist()], old, 0.9, batch, 1600)
            for each, old in zip(ages, theirs, strict=True)
        ]
        assert (batch * ours).tolist() == theirs, turn


def test_a_unit_that_is_never_silent_keeps_the_lowest_threshold():
    method, threshold = SelfNormalizedResets(), torch.tensor([64.0])
    for _ in range(4):
        threshold = method._renewed(torch.zeros(1, 256), threshold)
        assert threshold.tolist() == [1.0]


@pytest.mark.parametrize("activation", ["gelu", "tanh", "leaky-relu"])
def test_units_that_are_never_silent_are_refused(activation):
    with pytest.raises(UsageError) as raised:
        assemble(MLP(width=4, depth=2, activation=activation), Adam(), (SelfNormalizedResets(),), (3,), 2)
    assert str(raised.value) == (
        f"SelfNormalizedResets needs units that can be silent, and with {activation} those of hidden0 never are; take relu"
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"percentile": 1.0}, "percentile must lie in (0, 1), not 1.0"),
        ({"start": 0}, "start must lie in [1, inf), not 0"),
        ({"start": 300}, "start must be at most bins, 256, not 300"),
        ({"renewal": 0}, "renewal must lie in [1, inf), not 0"),
        ({"bins": 2.5}, "bins must be a whole number, not 2.5"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        SelfNormalizedResets(**fields)
    assert str(raised.value) == f"SelfNormalizedResets: {message}"
