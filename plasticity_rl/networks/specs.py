"""Network specs, which describe architectures. Experiments name the classes by this file: `["networks.MLP", {...}]`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Annotated, Literal

from plasticity_rl.checks import ADDED, Interval, UsageError, check
from plasticity_rl.networks.layers import Block, Conv, Dense, Group, Stage, Tokens

# Two threads made a few small layers no faster, and on a busy machine fifteen times slower: they wait for each other.
ENOUGH_MEMBERS = 16  # members whose dense layers are enough work for several threads


@dataclass(frozen=True)
class NetworkSpec(ABC):
    """Base class of networks. Each hidden layer is: linear or convolution -> norm -> activation; the heads are linear.

    A norm's learnable offset makes the bias before it redundant, so the bias is omitted (NaP, arXiv 2407.01800, does so; an rms norm
    carries an offset for the same reason). The norm of a convolution is over channels and positions of one example; scale and offset are
    per channel. Scales start at 1, offsets at 0.
    """

    norm: Literal["none", "layer", "rms", "batch", "batch-mean"] = "none"
    """norm before every activation. `batch` normalises each unit over the current batch (and a convolution's positions), without running
    averages. `batch-mean` subtracts the mean over the batch and divides by the standard deviation of each example's remainder"""
    activation: Literal["relu", "leaky-relu", "prelu", "smooth-leaky", "tanh", "gelu", "crelu", "fourier", "tailored", "aid"] = "relu"
    """`crelu` (relu(x), relu(-x)) and `fourier` (sin x, cos x) have two outputs per unit, so readers are twice as wide; where outputs must
    match one to one, as in an embedding, ReLU replaces them. `prelu` is a leaky ReLU with a learned slope per unit, `smooth-leaky` one
    without a kink, and `tailored` one whose slope is solved for the depth. `aid` keeps or drops each output at random in losses"""
    slope: Annotated[float, Interval("[0, 1]")] = 0.01
    """slope of leaky-relu, smooth-leaky and aid below zero, and that of prelu at initialisation; PyTorch's default for leaky-relu"""
    eta: Annotated[float, Interval("(0, 1)")] = 0.9
    """for `tailored`: the cosine similarity to which the layers map orthogonal inputs"""
    initial: Literal["uniform", "fan-in", "orthogonal", "low-rank"] = "uniform"
    """initialisation of weights. `uniform` in +-1/sqrt(fan in), biases too, as in PyTorch and DQN Zoo; `fan-in` is normal with standard
    deviation gain/sqrt(fan in) (He et al. 2015), biases 0; `orthogonal` is scaled by the gain, biases 0; `low-rank` has the scale of
    `uniform`, with low rank in hidden layers. Gains are the activation's, and 1 for heads"""
    rank: Annotated[float, Interval("(0, 1]")] = 0.1
    """for `low-rank`: fraction of the full rank"""
    weights: Literal["plain", "spectral-norm", "powerprop"] = "plain"
    """reparametrisation of hidden layers' weights: none; division by the largest singular value, from vectors that SpectralNorm updates; or
    w |w|^(alpha - 1)"""
    alpha: Annotated[float, Interval("[1, 100]")] = 2.0
    """exponent for `powerprop`"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """precision of multiplications in hidden layers; parameters, norms, heads, losses and the optimizer always use float32. On the command
    line and in sweeps, `auto` is bfloat16 if the machine that runs the command has instructions for it, else float32; the run is named and
    recorded by the result"""
    injection: bool = False
    """add two further copies of the last hidden layers and heads, for PlasticityInjection to switch on"""

    def __post_init__(self) -> None:
        check(self)

    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """The hidden layers in order; the last is dense."""

    def shares_well(self, members: int, inputs: tuple[int, ...] = ()) -> bool:
        """True if an update of so many members is enough work for several threads. A few small dense layers are faster on one. The shape of
        an example makes no difference."""
        return members >= ENOUGH_MEMBERS or self.convolves

    @property
    def convolves(self) -> bool:
        """True if the network convolves images."""
        return not all(isinstance(stage, Dense) for stage in self.stages())


@dataclass(frozen=True)
class MLP(NetworkSpec):
    """Dense layers of equal width; images are flattened. Two or three layers of 100 units are the usual small network (Kumar et al.
    2023)."""

    width: Annotated[int, Interval("[1, 65536]")] = 100
    """units of each hidden layer"""
    depth: Annotated[int, Interval("[1, 1000]")] = 3
    """hidden layers"""

    def stages(self) -> tuple[Stage, ...]:
        return (Dense(self.width),) * self.depth


@dataclass(frozen=True)
class Nature(NetworkSpec):
    """The convolutional torso of Mnih et al. 2015 (Nature 518): three convolutions and a dense layer, for inputs (4, 84, 84)."""

    width: Annotated[int, Interval("[1, 65536]")] = 512
    """units of the dense layer"""
    average: bool = field(default=False, metadata=ADDED)
    """let the dense layer read each channel's mean over positions (Impala's field of that name) in place of all positions: 64 inputs, not
    3,136"""

    def stages(self) -> tuple[Stage, ...]:
        return (Conv(32, 8, 4), Conv(64, 4, 2), Conv(64, 3, 1, self.average), Dense(self.width))


@dataclass(frozen=True)
class MinAtarCNN(NetworkSpec):
    """The network of MinAtar's authors for boards of 10 x 10 (Young & Tian 2019, arXiv 1903.03176): 16 filters of 3 x 3, a dense layer."""

    width: Annotated[int, Interval("[1, 65536]")] = 128
    """units of the dense layer"""

    def stages(self) -> tuple[Stage, ...]:
        return (Conv(16, 3, 1), Dense(self.width))

    def shares_well(self, members: int, inputs: tuple[int, ...] = ()) -> bool:
        """True if an update of so many members is enough work for several threads: its one convolution is as small as a dense layer."""
        return members >= ENOUGH_MEMBERS


@dataclass(frozen=True)
class Impala(NetworkSpec):
    """The residual torso of Espeholt et al. 2018 (arXiv 1802.01561, figure 3, without its LSTM): blocks of 16, 32 and 32 channels.

    Norms come before the activations, as everywhere: residual branches and the dense layer read the normalised sum; the sum itself is not
    normalised.
    """

    width: Annotated[int, Interval("[1, 65536]")] = 256
    """units of the dense layer"""
    scale: Annotated[int, Interval("[1, 64]")] = 1
    """factor on the number of channels; BBF (arXiv 2305.19452) uses 4"""
    average: bool = field(default=False, metadata=ADDED)
    """let the dense layer read each channel's mean over positions, after the last activation, in place of all positions: global average
    pooling, Impoola (arXiv 2503.05546), of which only the abstract was read"""

    def stages(self) -> tuple[Stage, ...]:
        return (Block(16 * self.scale), Block(32 * self.scale), Block(32 * self.scale, averages=self.average), Dense(self.width))


@dataclass(frozen=True)
class Resnet18(NetworkSpec):
    """ResNet-18 for small images, in pre-activation form (He et al. 2016, arXiv 1603.05027): 17 convolutions of 3 x 3.

    The first convolution is at full resolution without pooling, as usual for 32 x 32 images, followed by groups of 64, 128, 256 and 512
    channels. As in Impala, norms come before the activations, and shortcuts have none. The dense layer before the heads is this project's
    addition; ResNet's own head reads the means.
    """

    width: Annotated[int, Interval("[1, 65536]")] = 512
    """units of the dense layer"""

    def stages(self) -> tuple[Stage, ...]:
        return (Block(64, pool=False), Group(128), Group(256), Group(512), Dense(self.width))


@dataclass(frozen=True)
class Transformer(NetworkSpec):
    """A small pre-norm vision transformer (Dosovitskiy et al. 2020, arXiv 2010.11929; Xiong et al. 2020, arXiv 2002.04745). Tokens are an
    image's patches, without incomplete ones at the edges, or a vector's numbers.

    Positions are learned, and there is no class token: the dense layer before the heads, this project's addition, reads the mean over
    tokens. Norms are per token, layer norms by default; as everywhere, one precedes each activation too, unlike in the papers. The units of
    the feed-forward's first layer are recycled and measured as any dense layer's (a token is a sample). All other layers, including
    queries, keys and values, are `shared`, and interventions on units skip them. NormalizeAndProject projects all of them; but the norm of
    queries and keys is a temperature, and that of values and of layers that write to the stream matters in the sum, so there the projection
    constrains the function. Sizes are ours, for small experiments.
    """

    norm: Literal["none", "layer", "rms", "batch", "batch-mean"] = "layer"
    width: Annotated[int, Interval("[1, 65536]")] = 64
    """width of a token and units of the dense layer"""
    depth: Annotated[int, Interval("[1, 1000]")] = 2
    """number of pairs of attention and feed-forward"""
    heads: Annotated[int, Interval("[1, 64]")] = 4
    """number of attention heads, which divide the width among them"""
    patch: Annotated[int, Interval("[1, 1000]")] = 12
    """side of a patch, in pixels; 49 patches in an Atari frame"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            raise UsageError(f"Transformer: width must be a multiple of heads, {self.heads}, not {self.width}")

    def stages(self) -> tuple[Stage, ...]:
        return (Tokens(self.width, self.depth, self.heads, self.patch), Dense(self.width))
