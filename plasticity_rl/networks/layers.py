"""Data structures of networks: a layer's parameters and readers, the stages of a torso, and the heads that an agent requests."""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from torch import Tensor

Params = dict[str, Tensor]
Shape = tuple[int, ...]

GATE = "injection"  # parameter (1,) of a network with injected copies: 1 if they are switched on, else not positive
KEY = "key"  # beside the parameters in a loss: the key, (2,), of the random numbers that activations take there (see noise.py)


class Layer(NamedTuple):
    """Parameter names and readers of one layer. Units are a dense layer's outputs or a convolution's channels."""

    name: str
    weight: str
    """(units, fan in) or (units, channels, height, width)"""
    bias: str | None
    """(units,)"""
    scale: str | None
    """(units,), of the norm before the activation"""
    offset: str | None
    """(units,)"""
    units: int
    readers: tuple[str, ...]
    """names of the layers that read these units; empty for a head"""
    columns: int
    """number of adjacent inputs of a reader (dimension 1 of its weight) that hold one unit: 1, or the positions of a flattened image;
    undefined for `shared` layers, whose readers may differ in it"""
    activation: str | None
    """None for a head, and if the units are first added to others and read without activation"""
    weight_noise: str | None = None
    """for a noisy layer: the standard deviations of the weight, of its shape"""
    bias_noise: str | None = None
    shared: bool = False
    """True if the units are added to a residual stream, whose channels several layers write and read, so that no unit is this layer's
    alone; also True for queries, keys and values, which have meaning only together"""
    copies: int = 1
    """number of outputs that the activation makes per unit; a reader's inputs are the first outputs of all units, then the second
    outputs"""
    beside: str | None = None
    """for an injected layer: the name of the frozen layer of the same shape"""
    singular: tuple[str, ...] = ()
    """if the weight is divided by its largest singular value: the names of its left (units,) and right (fan in,) singular vectors,
    non-trainable and updated by SpectralNorm"""
    powered: bool = False
    """True if the layer multiplies with a power of the weight; a weight of exactly 0 then has no gradient and stays 0"""
    slope: str | None = None
    """(units,), the learned slopes below zero of an activation that has them"""
    others: tuple[str, ...] = ()
    """parameters that are not a weight, bias or norm of any layer, such as an embedding's table, in a module whose layers were not
    traced"""

    @property
    def head(self) -> bool:
        return not self.readers

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the weights that multiply the inputs. Where a norm follows, rescaling all of them together leaves the function
        unchanged."""
        return (self.weight,) if self.weight_noise is None else (self.weight, self.weight_noise)

    @property
    def own(self) -> tuple[str, ...]:
        """Names of the layer's own parameters; dimension 0 of each is the units."""
        names = (self.weight, self.bias, self.scale, self.offset, self.slope, self.weight_noise, self.bias_noise)
        return tuple(name for name in names if name is not None)

    @property
    def parameters(self) -> tuple[str, ...]:
        """`own` and `others`: for methods that treat all parameters alike."""
        return (*self.own, *self.others)

    @property
    def subtracted(self) -> dict[str, str]:
        """For an injected layer, maps its `own` parameters and `singular` vectors to those of the frozen copy that is subtracted; empty for
        others."""
        return {} if self.beside is None else {name: f"{name}.subtracted" for name in (*self.own, *self.singular)}


class Dense(NamedTuple):
    units: int


class Conv(NamedTuple):
    """A convolution without padding."""

    units: int
    kernel: int
    stride: int
    averages: bool = False
    """True if a dense layer after it reads the means over positions"""


class Block(NamedTuple):
    """A 3 x 3 convolution, 3 x 3 max-pooling with stride 2, and two residual branches activation -> convolution -> activation ->
    convolution, each added to its input (Espeholt et al. 2018, arXiv 1802.01561)."""

    units: int
    pool: bool = True
    """True to include the max-pooling"""
    averages: bool = False
    """True if a dense layer after it reads the means over positions"""


class Group(NamedTuple):
    """Two residual branches as in a Block, the first with stride 2. Its shortcut is a 1 x 1 convolution, as positions and channels change
    (He et al. 2016, arXiv 1603.05027). A dense layer after it reads the means over positions."""

    units: int


class Tokens(NamedTuple):
    """Patches of an image, or the numbers of a vector, as tokens, and `depth` pairs of residual branches: self-attention, and a
    feed-forward layer four times as wide. A dense layer after it reads the mean over tokens."""

    units: int
    depth: int
    heads: int
    patch: int


Stage = Dense | Conv | Block | Group | Tokens


class Step(NamedTuple):
    """The computation of one layer of the torso."""

    layer: Layer
    stride: int = 0
    """0 for a dense layer"""
    padding: int = 0
    pool: bool = False
    adds: bool = False
    """True if the output is added to the residual stream"""
    passes: bool = False
    """True if it starts a residual stream beside its input, which the next step reads too"""
    averages: bool = False
    """True to average over positions or tokens, after the activation"""
    places: bool = False
    """True to add position embeddings and arrange positions as rows"""
    heads: int = 0
    """number of attention heads, if it makes queries, keys or values, in this order"""


@dataclass(frozen=True)
class HeadSpec:
    """The heads that an agent requests of a network."""

    heads: tuple[tuple[str, int], ...]
    """name and number of outputs of each linear head; `apply` concatenates them"""
    streams: bool = False
    """give each head a last hidden layer of its own (dueling; Wang et al. 2016, arXiv 1511.06581)"""
    noise: float | None = None
    """sigma0 of factorised noise in the last hidden layers and the heads (NoisyNets; Fortunato et al. 2018, arXiv 1706.10295). As in the
    paper, noise is normal and every noisy layer has a bias with a mean; in DQN Zoo's Rainbow the normal numbers are truncated at 2, and the
    heads' biases have no mean"""
    cosines: int = 0
    """number of cosines of a fraction that are embedded and multiplied with the input of the last hidden layers (IQN; arXiv 1806.06923)"""
    tasks: int = 1
    """number of sets of heads, one per task"""
    separate: bool = False
    """give each head a network of its own, whose layers are named `head.hidden0` and so on"""
    actions: int = 0
    """numbers of an action at the end of the inputs, which the networks of `critics` read and the others do not"""
    critics: tuple[str, ...] = ()
    """heads whose networks judge an action"""
    constants: tuple[tuple[str, int, float], ...] = ()
    """name, size and initial value of learned parameters that no layer has, such as the standard deviations of a policy"""

    def networks(self) -> tuple[tuple[str, "HeadSpec"], ...]:
        """The prefix of the layers' names and the heads of each network that shares no layer with another."""
        if not self.separate:
            return (("", self),)
        return tuple((f"{name}.", replace(self, heads=((name, outputs),))) for name, outputs in self.heads)


Layers = tuple[Layer, ...]
Part = Literal["all", "hidden", "heads"]


def select(layers: Layers, part: Part) -> Layers:
    """The layers of that part."""
    return tuple(layer for layer in layers if part == "all" or layer.head == (part == "heads"))


def network_of(name: str) -> str:
    """Name of the network that a layer or parameter is of, where an agent has several: `policy` for `policy.hidden0.weight`, for the head
    `policy` and for its injected copy `policy_injected`."""
    return name.partition(".")[0].removesuffix("_injected")


def single_parameters(params: Params, layers: Layers) -> tuple[str, ...]:
    """Names of the parameters of no layer, such as a temperature; without gates and frozen copies, which interventions alone write."""
    of_layers = {name for layer in layers for name in (*layer.parameters, *layer.singular, *layer.subtracted.values())}
    return tuple(name for name in params if name not in of_layers and name.rpartition(".")[2] != GATE)


def own_units(layers: Layers) -> Layers:
    """Hidden layers whose units no other layer writes."""
    return tuple(layer for layer in select(layers, "hidden") if not layer.shared)


def penultimate(layers: Layers) -> Layers:
    """The last hidden layers, which the heads read."""
    heads = {layer.name for layer in layers if layer.head}
    return tuple(layer for layer in layers if heads & set(layer.readers))


def last_active(layers: Layers) -> Layers:
    """The last hidden layers with an activation in each network: those that heads read, or where heads also read sums, the last one."""
    heads, last = {layer.name for layer in layers if layer.head}, set[str]()
    for network in connected(layers):
        read = [layer for layer in network if heads & {*layer.readers}]
        summed = any(layer.activation is None for layer in read)
        last |= {layer.name for layer in ([each for each in network if each.activation is not None][-1:] if summed else read)}
    return tuple(layer for layer in layers if layer.name in last)


def connected(layers: Layers) -> tuple[Layers, ...]:
    """The layers by network: those that no chain of readers connects are of separate networks."""
    groups: list[list[Layer]] = []
    for layer in layers:
        linked = [group for group in groups if any(layer.name in other.readers or other.name in layer.readers for other in group)]
        groups = [group for group in groups if group not in linked] + [[*(other for group in linked for other in group), layer]]
    place = {layer.name: index for index, layer in enumerate(layers)}
    ordered = (tuple(sorted(group, key=lambda layer: place[layer.name])) for group in groups)
    return tuple(sorted(ordered, key=lambda group: place[group[0].name]))


def unit_masks(layer: Layer, layers: Layers, units: Tensor, params: Params) -> tuple[Params, Params]:
    """Masks of the elements that belong to the marked `units` (bool, one per unit): first their incoming parameters (rows of the layer's
    own parameters), then their outgoing weights (columns of the readers' weights). Units of a residual stream, which several layers write,
    have none."""
    assert not layer.shared, layer.name
    rows = {name: units.view(-1, *(1,) * (params[name].ndim - 1)).expand_as(params[name]) for name in layer.own}
    columns = {}
    for reader in layers:
        if reader.name in layer.readers:
            for name in reader.weights:
                weight = params[name]
                read = units.repeat_interleave(layer.columns).repeat(layer.copies)
                columns[name] = read.view(1, -1, *(1,) * (weight.ndim - 2)).expand_as(weight)
    return rows, columns
