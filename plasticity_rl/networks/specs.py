"""What networks there are: a spec says what is built. Experiments name the classes by this file: `["networks.MLP", {...}]`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal

from plasticity_rl.checks import Interval, UsageError, check
from plasticity_rl.networks.layers import Block, Conv, Dense, Group, Stage, Tokens


@dataclass(frozen=True)
class NetworkSpec(ABC):
    """What every torso shares. Each hidden layer is: linear or convolution -> norm -> activation; the heads are linear alone.

    With a norm, its learnable offset makes the bias before it redundant, so the bias is left out (NaP, arXiv 2407.01800, does so; an rms
    norm carries an offset for the same reason). The norm of a convolution runs over channels and positions of one example; scale and
    offset are per channel. Scales start at 1, offsets at 0.
    """

    norm: Literal["none", "layer", "rms", "batch", "batch-mean"] = "none"
    """what stands before every activation. `batch` is of each unit over the batch (and a convolution's positions), always the batch at
    hand: no running averages. `batch-mean` takes the mean over the batch away and divides by the deviation of what is left of an example"""
    activation: Literal["relu", "leaky-relu", "tanh", "gelu", "crelu", "fourier", "tailored"] = "relu"
    """`crelu` (relu(x), relu(-x)) and `fourier` (sin x, cos x) make two outputs of each unit, and readers are twice as wide; where outputs
    must match one to one, as an embedding's, ReLU stands in for them. `tailored` is a leaky ReLU whose slope is solved for the depth"""
    slope: Annotated[float, Interval("[0, 1]")] = 0.01
    """of leaky-relu below zero; PyTorch's default"""
    eta: Annotated[float, Interval("(0, 1)")] = 0.9
    """for `tailored`: the similarity that the layers make of two inputs that have none"""
    initial: Literal["uniform", "fan-in", "orthogonal", "low-rank"] = "uniform"
    """what weights start as. `uniform` in +-1/sqrt(fan in), biases too, PyTorch's and DQN Zoo's choice; `fan-in` is normal with standard
    deviation gain/sqrt(fan in) (He et al. 2015), biases 0; `orthogonal` is times the gain, biases 0; `low-rank` is as wide as `uniform`, of
    low rank in hidden layers. Gains are the activation's, and 1 for heads"""
    rank: Annotated[float, Interval("(0, 1]")] = 0.1
    """for `low-rank`: the rank's share of the largest that there could be"""
    weights: Literal["plain", "spectral-norm", "powerprop"] = "plain"
    """what hidden layers multiply with: the parameters; these over their largest singular value, by vectors that SpectralNorm keeps up to
    date; or w |w|^(alpha - 1)"""
    alpha: Annotated[float, Interval("[1, 100]")] = 2.0
    """for `powerprop`"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """of what hidden layers multiply; parameters, norms, heads, losses and the optimizer are float32 all the same. On the command line and
    in sweeps, `auto` is bfloat16 where the machine that the command is given on multiplies it by instructions of its own, else float32; the
    run is named and recorded by what was found"""
    injection: bool = False
    """carry a second and a third copy of the last hidden layers and heads, for the PlasticityInjection that switches them on"""

    def __post_init__(self) -> None:
        check(self)

    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """The hidden layers in order; the last is dense."""

    def shares_well(self, members: int) -> bool:
        """Is an update of so many members enough work to be shared among threads? A few small dense layers are faster on one."""
        return members >= 16 or self.convolves

    @property
    def convolves(self) -> bool:
        """Does it read images as images?"""
        return not all(isinstance(stage, Dense) for stage in self.stages())


@dataclass(frozen=True)
class MLP(NetworkSpec):
    """Equal dense layers; an image is flattened. Two or three layers of 100 are the field's small standard (Kumar et al. 2023)."""

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

    def stages(self) -> tuple[Stage, ...]:
        return (Conv(32, 8, 4), Conv(64, 4, 2), Conv(64, 3, 1), Dense(self.width))


@dataclass(frozen=True)
class Impala(NetworkSpec):
    """The residual torso of Espeholt et al. 2018 (arXiv 1802.01561, figure 3, without its LSTM): blocks of 16, 32 and 32 channels.

    Norms stand before the activations, as everywhere: what a residual branch and the dense layer read of the sum is normalised, the sum
    itself is not.
    """

    width: Annotated[int, Interval("[1, 65536]")] = 256
    """units of the dense layer"""
    scale: Annotated[int, Interval("[1, 64]")] = 1
    """times as many channels; BBF (arXiv 2305.19452) takes 4"""

    def stages(self) -> tuple[Stage, ...]:
        return (Block(16 * self.scale), Block(32 * self.scale), Block(32 * self.scale), Dense(self.width))


@dataclass(frozen=True)
class Resnet18(NetworkSpec):
    """ResNet-18 for small images, in pre-activation form (He et al. 2016, arXiv 1603.05027): 17 convolutions of 3 x 3.

    A first convolution at full resolution without pooling, as usual for images of 32 x 32, and groups of 64, 128, 256 and 512 channels. As
    in Impala, norms stand before the activations, and what enters a group through a shortcut has none. The dense layer before the heads
    is the frame's; ResNet's own head reads the means.
    """

    width: Annotated[int, Interval("[1, 65536]")] = 512
    """units of the dense layer"""

    def stages(self) -> tuple[Stage, ...]:
        return (Block(64, pool=False), Group(128), Group(256), Group(512), Dense(self.width))


@dataclass(frozen=True)
class Transformer(NetworkSpec):
    """A small vision transformer with norms before the branches (Dosovitskiy et al. 2020, arXiv 2010.11929; Xiong et al. 2020, arXiv
    2002.04745). Tokens are an image's patches, of which an incomplete one at the edge is left out, or a vector's numbers.

    Learned positions, no token of its own for the outputs: the dense layer before the heads, the frame's, reads the mean over tokens.
    Norms are of each token, a layer norm unless another is asked for; as everywhere, one stands before each activation too, which the
    papers have not. The units of the feed-forward's first layer are its own, and recycled and measured as any dense layer's (a token is a
    sample). All else, queries, keys and values included, is `shared` and left alone by what acts on units. NormalizeAndProject holds all
    of it; but queries' and keys' length is a temperature, and values' and what is written to the stream is felt in the sum, so there the
    projection is a constraint and leaves a trace. Sizes are ours, for small experiments.
    """

    norm: Literal["none", "layer", "rms", "batch", "batch-mean"] = "layer"
    width: Annotated[int, Interval("[1, 65536]")] = 64
    """of a token, and of the dense layer"""
    depth: Annotated[int, Interval("[1, 1000]")] = 2
    """pairs of attention and feed-forward"""
    heads: Annotated[int, Interval("[1, 64]")] = 4
    """of attention, which share the width among them"""
    patch: Annotated[int, Interval("[1, 1000]")] = 12
    """side of a patch: 49 of them in an Atari frame"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            raise UsageError(f"Transformer: width must be a multiple of heads, {self.heads}, not {self.width}")

    def stages(self) -> tuple[Stage, ...]:
        return (Tokens(self.width, self.depth, self.heads, self.patch), Dense(self.width))
