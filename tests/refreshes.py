"""Plain readings of refreshes' effects. They know the layer graph by heart and loop over units."""

import torch

from plasticity_rl.interventions import (
    DASH,
    FIRE,
    AdamRel,
    BornAgain,
    CalibratedPartialResets,
    ContinualBackprop,
    DynamicSparsity,
    HareAndTortoise,
    Layerwise,
    PlasticityInjection,
    ReDo,
    ReGraMa,
    Reset,
    SelectiveWeightReinitialization,
    SelfNormalizedResets,
    ShrinkAndPerturb,
    Wasserstein,
)
from plasticity_rl.interventions.base import State
from plasticity_rl.networks.layers import Params
from plasticity_rl.optim.optimizers import Net

READERS = {
    "mlp": {"hidden0": {"hidden1": 1}, "hidden1": {"hidden2": 1}, "hidden2": {"head": 1}},
    "convolutions": {"hidden0": {"hidden1": 1}, "hidden1": {"hidden2": 1}, "hidden2": {"hidden3": 2 * 2}, "hidden3": {"head": 1}},
    "residual": {  # other layers write to a sum
        "hidden0_1a": {"hidden0_1b": 1},
        "hidden0_2a": {"hidden0_2b": 1},
        "hidden1_1a": {"hidden1_1b": 1},
        "hidden1_2a": {"hidden1_2b": 1},
        "hidden2": {"head": 1},
    },
    "noisy": {
        "hidden0": {"hidden1_value": 2 * 2, "hidden1_advantage": 2 * 2},
        "quantiles": {"hidden1_value": 1, "hidden1_advantage": 1},
        "hidden1_value": {"value": 1},
        "hidden1_advantage": {"advantage": 1},
    },
    "separate": {
        "policy.hidden0": {"policy.hidden1": 1},
        "policy.hidden1": {"policy": 1},
        "value.hidden0": {"value.hidden1": 1},
        "value.hidden1": {"value": 1},
    },
}
"""kind -> layer with units of its own -> its readers, and their columns per unit"""
HEADS = {"mlp": ("head.",), "convolutions": ("head.",), "residual": ("head.",), "noisy": ("value.", "advantage.")}
HEADS["separate"] = ("policy.weight", "policy.bias", "value.weight", "value.bias")
"""kind -> prefixes of its heads' parameter names"""
LAST = {"mlp": ("hidden2.",), "convolutions": ("hidden3.",), "residual": ("hidden2.",), "noisy": ("hidden1_value.", "hidden1_advantage.")}
LAST["separate"] = ("policy.hidden1.", "value.hidden1.")
"""prefixes of last hidden layers"""


def none_of(net: Net) -> Params:
    """An all-False mask for every parameter."""
    return {name: torch.zeros(param.shape, dtype=torch.bool) for name, param in net.params.items()}


def named_by_reset(intervention: Reset, net: Net, state: State, features: Params, kind: str) -> tuple[Params, Params]:
    params, optimizer_state = none_of(net), none_of(net)
    for name in params:
        part = "heads" if name.startswith(HEADS[kind]) else "hidden"
        last = intervention.part == "last" and name.startswith(HEADS[kind] + LAST[kind])
        params[name][...] = intervention.part in ("everything", "network", part) or last
        optimizer_state[name][...] = params[name] | (intervention.part == "optimizer")
    return params, optimizer_state


def named_by_shrinking(intervention: ShrinkAndPerturb, net: Net, state: State, features: Params, kind: str) -> tuple[Params, Params]:
    return {name: torch.ones_like(mask) for name, mask in none_of(net).items()}, none_of(net)


def named_by_redo(intervention: ReDo, net: Net, state: State, features: Params, kind: str) -> tuple[Params, Params]:
    params = units_by_hand(net, kind, dormant_by_loops(kind, features, intervention.tau))
    return params, params


def named_by_regrama(intervention: ReGraMa, net: Net, state: State, features: Params, kind: str) -> tuple[Params, Params]:
    sizes = {layer: state[layer].tolist() for layer in READERS[kind]}
    marked = {layer: [u for u, size in enumerate(of) if size <= intervention.tau * sum(of) / len(of)] for layer, of in sizes.items()}
    params = units_by_hand(net, kind, marked)
    return params, params


def named_by_partial_resets(
    intervention: CalibratedPartialResets, net: Net, state: State, features: Params, kind: str
) -> tuple[Params, Params]:
    everything = {layer: list(range(len(state[layer]))) for layer in READERS[kind]}
    incoming = {f"{layer}.{part}" for layer in everything for part in ("weight", "weight_noise")}
    touched = units_by_hand(net, kind, everything)
    readers = {name for layer in everything for name in columns_by_hand(kind, layer, 0)}
    return {name: mask & (name in incoming | readers) for name, mask in touched.items()}, none_of(net)


def named_by_selection(
    intervention: SelectiveWeightReinitialization, net: Net, state: State, features: Params, kind: str
) -> tuple[Params, Params]:
    params = none_of(net)
    for name, old in net.params.items():
        if intervention.part == "hidden" and name.startswith(HEADS[kind]):
            continue
        utilities = (old.abs() if intervention.utility == "magnitude" else state[name]).flatten().tolist()
        small = [utility <= intervention.factor * sum(utilities) / len(utilities) for utility in utilities]
        params[name] = torch.tensor(small).view(old.shape)
    return params, params


def named_by_dynamic_sparsity(intervention: DynamicSparsity, net: Net, state: State, features: Params, kind: str) -> tuple[Params, Params]:
    params = none_of(net)
    for name in [name.removeprefix("mask/") for name in state if name.startswith("mask/")]:
        present, weights = state[f"mask/{name}"].flatten().tolist(), net.params[name].flatten().tolist()
        there = sorted((place for place, mask in enumerate(present) if mask), key=lambda place: abs(weights[place]))
        count = int(intervention.moved * len(there))
        kept = set(there[count:])
        gradient = state[f"gradient/{name}"].flatten().tolist()
        free = sorted((place for place in range(len(present)) if place not in kept), key=lambda place: -abs(gradient[place]))
        touched = set(there) ^ (kept | set(free[:count]))  # what was dropped and grown at once stays
        for each in (name, f"{name}_noise"):
            if each in params:
                params[each] = torch.tensor([place in touched for place in range(len(present))]).view(net.params[each].shape)
    return params, params


def named_by_injection(intervention: PlasticityInjection, net: Net, state: State, features: Params, kind: str) -> tuple[Params, Params]:
    params, optimizer_state = none_of(net), none_of(net)
    for name in params:
        params[name][...] = name == "injection" or "_injected." in name
        optimizer_state[name][...] = params[name] | name.startswith(HEADS[kind] + LAST[kind])
    return params, optimizer_state


def frozen_by_injection(name: str, kind: str) -> bool:
    """True if injection freezes a parameter."""
    return name == "injection" or name.endswith(".subtracted") or name.startswith(HEADS[kind] + LAST[kind])


def named_by_birth(intervention: BornAgain, net: Net, state: State, features: Params, kind: str) -> tuple[Params, Params]:
    everything = {name: torch.ones_like(mask) for name, mask in none_of(net).items()}
    return everything, everything


def named_by_continual_backprop(
    intervention: ContinualBackprop, net: Net, state: State, features: Params, kind: str
) -> tuple[Params, Params]:
    marked = useless_by_loops(intervention, state, kind)
    params, optimizer_state = units_by_hand(net, kind, marked), units_by_hand(net, kind, marked)
    for layer, units in marked.items():
        for reader in READERS[kind][layer]:
            if not multiplied(kind, layer) and any(state[f"{layer}.mean"][:, unit].any() for unit in units):
                params[f"{reader}.bias"][...] = True
    return params, optimizer_state


def named_by_self_normalized_resets(
    intervention: SelfNormalizedResets, net: Net, state: State, features: Params, kind: str
) -> tuple[Params, Params]:
    ages, thresholds = ({layer: state[f"{layer}.{part}"].tolist() for layer in READERS[kind]} for part in ("age", "threshold"))
    marked = {layer: [u for u, age in enumerate(ages[layer]) if age >= thresholds[layer][u]] for layer in READERS[kind]}
    params = units_by_hand(net, kind, marked)
    return params, params


def named_by_tortoise(intervention: HareAndTortoise, net: Net, state: State, features: Params, kind: str) -> tuple[Params, Params]:
    return {name: torch.ones_like(mask) for name, mask in none_of(net).items()}, none_of(net)


def named_by_dash(intervention: DASH, net: Net, state: State, features: Params, kind: str) -> tuple[Params, Params]:
    return {name: mask | name.endswith((".weight", ".bias")) for name, mask in none_of(net).items()}, none_of(net)


def named_by_fire(intervention: FIRE, net: Net, state: State, features: Params, kind: str) -> tuple[Params, Params]:
    return {name: mask | name.endswith(".weight") for name, mask in none_of(net).items()}, none_of(net)


def named_by_layerwise(intervention: Layerwise, net: Net, state: State, features: Params, kind: str) -> tuple[Params, Params]:
    optimizer_state = {name: mask | ("hidden0." not in name) for name, mask in none_of(net).items()}
    return {name: mask | name.endswith((".weight", ".bias")) for name, mask in optimizer_state.items()}, optimizer_state


def named_by_local_time(intervention: AdamRel, net: Net, state: State, features: Params, kind: str) -> tuple[Params, Params]:
    return none_of(net), {name: torch.ones_like(mask) for name, mask in none_of(net).items()}


def named_by_ranks(intervention: Wasserstein, net: Net, state: State, features: Params, kind: str) -> tuple[Params, Params]:
    return none_of(net), none_of(net)


NAMED = {
    AdamRel: named_by_local_time,
    Wasserstein: named_by_ranks,
    BornAgain: named_by_birth,
    Reset: named_by_reset,
    ShrinkAndPerturb: named_by_shrinking,
    ReDo: named_by_redo,
    DynamicSparsity: named_by_dynamic_sparsity,
    ReGraMa: named_by_regrama,
    CalibratedPartialResets: named_by_partial_resets,
    SelectiveWeightReinitialization: named_by_selection,
    ContinualBackprop: named_by_continual_backprop,
    SelfNormalizedResets: named_by_self_normalized_resets,
    HareAndTortoise: named_by_tortoise,
    DASH: named_by_dash,
    FIRE: named_by_fire,
    Layerwise: named_by_layerwise,
    PlasticityInjection: named_by_injection,
}
"""method -> the parameters' and optimizer state's elements that a refresh may touch, by a plain reading of the method"""


def units_by_hand(net: Net, kind: str, units: dict[str, list[int]]) -> Params:
    """The elements of some units of each layer: incoming and outgoing ones."""
    params = none_of(net)
    for layer, numbers in units.items():
        for unit in numbers:
            for name in params:
                if name.startswith(f"{layer}."):
                    params[name][unit] = True
            for reader, columns in columns_by_hand(kind, layer, unit).items():
                params[reader][:, columns] = True
    return params


def dormant_by_loops(kind: str, features: Params, tau: float) -> dict[str, list[int]]:
    """The dormant units of each layer with units of its own."""
    marked = {}
    for layer in READERS[kind]:
        samples, units = features[layer].shape
        outputs = features[layer].tolist()
        response = [sum(abs(outputs[s][u]) for s in range(samples)) / samples for u in range(units)]
        marked[layer] = [u for u in range(units) if response[u] <= tau * sum(response) / units]
    return marked


def recycled_by_loops(kind: str, net: Net, fresh: Params, marked: dict[str, list[int]]) -> Net:
    """Some units recycled, one at a time: incoming weights of all layers, then outgoing ones."""
    params = {name: param.clone() for name, param in net.params.items()}
    slots = {slot: {name: tensor.clone() for name, tensor in optimizer_state.items()} for slot, optimizer_state in net.slots.items()}
    for layer, units in marked.items():
        for unit in units:
            for name in params:
                if name.startswith(f"{layer}."):
                    params[name][unit] = 0.0 if name.endswith("bias") else fresh[name][unit]
                    for optimizer_state in slots.values():
                        optimizer_state[name][unit] = 0.0
    for layer, units in marked.items():
        for unit in units:
            for reader, columns in columns_by_hand(kind, layer, unit).items():
                for tree in (params, *slots.values()):
                    tree[reader][:, columns] = 0.0
    return Net(params, slots)


def columns_by_hand(kind: str, layer: str, unit: int) -> dict[str, list[int]]:
    """A unit's readers and columns; a flattened image is channel, row, column."""
    weights = ("weight", "weight_noise") if kind == "noisy" else ("weight",)
    return {
        f"{reader}.{weight}": [unit * positions + position for position in range(positions)]
        for reader, positions in READERS[kind][layer].items()
        for weight in weights
    }


def useless_by_loops(intervention: ContinualBackprop, state: State, kind: str) -> dict[str, list[int]]:
    """The units of each layer that continual backprop would replace: the old ones of least utility, as many as are due."""
    marked = {}
    for layer in READERS[kind]:
        ages, utilities = state[f"{layer}.age"].tolist(), state[f"{layer}.utility"].tolist()
        old = [u for u, age in enumerate(ages) if age > intervention.maturity]
        old.sort(key=lambda u: utilities[u] / (1 - intervention.decay ** ages[u]))
        marked[layer] = old[: int(state[f"{layer}.owed"].item())]
    return marked


def multiplied(kind: str, layer: str) -> bool:
    """True if its units are multiplied with another layer's."""
    return kind == "noisy" and layer in ("hidden0", "quantiles")
