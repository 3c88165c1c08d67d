"""Builds layers from the stages of a torso: names, shapes, and the layer graph."""

from math import prod

from plasticity_rl.checks import UsageError
from plasticity_rl.networks.activations import LEARNED, PAIRED
from plasticity_rl.networks.layers import Block, Conv, Dense, Group, Layer, Shape, Stage, Step, Tokens
from plasticity_rl.networks.specs import NetworkSpec


def entries(name: str, stage: Stage) -> tuple[str, ...]:
    """The layers of a stage that read its input."""
    return (name, f"{name}_1a") if isinstance(stage, Group) else (name,)


class Builder:
    """Layers and steps of one network, in the order they are added."""

    def __init__(self, spec: NetworkSpec, inputs: Shape, noisy: bool) -> None:
        self.spec, self.inputs, self.noisy = spec, inputs, noisy
        self.copies = 2 if spec.activation in PAIRED else 1
        self.shapes: dict[str, Shape] = {}
        self.steps: list[Step] = []

    def add(self, name: str, stage: Stage, shape: Shape, readers: tuple[str, ...], onward: Stage) -> Shape:
        """Add one stage of the torso, which the stage `onward` reads; returns the shape of its output."""
        if isinstance(stage, Dense):
            self.steps.append(Step(self.layer(name, (stage.units, prod(shape)), readers)))
            return (stage.units * self.copies,)
        if isinstance(stage, Tokens):
            return self._tokens(name, stage, shape, readers)
        kernel = stage.kernel if isinstance(stage, Conv) else 1 if isinstance(stage, Group) else 3
        if len(shape) != 3 or min(shape[1:]) < kernel:
            torso = type(self.spec).__name__
            raise UsageError(f"{torso} cannot read inputs of shape {self.inputs}: {name} reads images of {kernel} x {kernel} or more")
        if isinstance(stage, Conv):
            shape_after = (stage.units * self.copies, *((side - kernel) // stage.stride + 1 for side in shape[1:]))
            columns = prod(shape_after[1:]) if isinstance(onward, Dense) and not stage.averages else 1
            layer = self.layer(name, (stage.units, shape[0], kernel, kernel), readers, columns)
            self.steps.append(Step(layer, stage.stride, averages=stage.averages))
            return shape_after[:1] if stage.averages else shape_after
        return self._residual(name, stage, shape, readers, onward)

    def _residual(self, name: str, stage: Block | Group, shape: Shape, readers: tuple[str, ...], onward: Stage) -> Shape:
        """Add a residual stream: the layer `name` starts it, and two branches are added to it."""
        group, summed = isinstance(stage, Group), isinstance(onward, Block)  # the next block reads the sum as it is
        averaged = isinstance(onward, Dense) if isinstance(stage, Group) else stage.averages
        first, second = f"{name}_1", f"{name}_2"
        entrance, square = (stage.units, shape[0], 3, 3), (stage.units, stage.units * self.copies, 3, 3)
        halved = isinstance(stage, Group) or stage.pool

        def branch(name: str, weight: Shape, stride: int, later: tuple[str, ...], last: bool) -> None:
            self.steps.append(Step(self.layer(f"{name}a", weight, (f"{name}b",)), stride, 1))
            layer = self.layer(f"{name}b", square, later, shared=True, bare=last and summed)
            self.steps.append(Step(layer, 1, 1, adds=True, averages=last and averaged))

        if group:
            shortcut = self.layer(name, (stage.units, shape[0], 1, 1), (f"{second}a", *readers), shared=True, bare=True)
            self.steps.append(Step(shortcut, 2, passes=True))
        else:
            begins = self.layer(name, entrance, (f"{first}a", f"{second}a", *readers), shared=True)
            self.steps.append(Step(begins, 1, 1, pool=halved))
        branch(first, entrance if group else square, 2 if group else 1, (f"{second}a", *readers), last=False)
        branch(second, square, 1, readers, last=True)
        positions = tuple((side + 1) // 2 for side in shape[1:]) if halved else shape[1:]
        return (stage.units * (1 if summed else self.copies), *(() if averaged else positions))

    def _tokens(self, name: str, stage: Tokens, shape: Shape, readers: tuple[str, ...]) -> Shape:
        """Add a token stream: embedding and positions start it, and two branches per level of depth are added to it."""
        kernel = stage.patch if len(shape) == 3 else 1
        if len(shape) not in (1, 3) or min(shape[1:], default=1) < kernel:
            allowed = f"vectors, and images of {stage.patch} x {stage.patch} or more"
            raise UsageError(f"{type(self.spec).__name__} cannot read inputs of shape {self.inputs}: {name} reads {allowed}")
        channels, tokens = (shape[0], prod(side // kernel for side in shape[1:])) if len(shape) == 3 else (1, shape[0])
        blocks = [f"{name}_{i + 1}" for i in range(stage.depth)]
        branches = [entry for block in blocks for entry in ((f"{block}query", f"{block}key", f"{block}value"), (f"{block}up",))]

        def after(branch: int) -> tuple[str, ...]:
            return (*(reader for entry in branches[branch:] for reader in entry), *readers)

        square, wide = (stage.units, stage.units), 4 * stage.units
        patches = self.layer(name, (stage.units, channels, kernel, kernel), after(0), shared=True, bare=True)
        self.steps.append(Step(patches, kernel))
        self.steps.append(Step(self.layer(f"{name}_positions", (stage.units, tokens), after(0), shared=True, linear=True), places=True))
        for i, block in enumerate(blocks):
            for part in branches[2 * i]:
                self.steps.append(Step(self.layer(part, square, (f"{block}out",), shared=True, bare=True), heads=stage.heads))
            out = self.layer(f"{block}out", square, after(2 * i + 1), shared=True, linear=True)
            self.steps.append(Step(out, adds=True))
            self.steps.append(Step(self.layer(f"{block}up", (wide, stage.units), (f"{block}down",))))
            down = self.layer(f"{block}down", (stage.units, wide * self.copies), after(2 * i + 2), shared=True, linear=True)
            self.steps.append(Step(down, adds=True, averages=i == stage.depth - 1))
        return (stage.units,)

    def layer(
        self,
        name: str,
        weight: Shape,
        readers: tuple[str, ...],
        columns: int = 1,
        noisy: bool = False,
        shared: bool = False,
        bare: bool = False,
        gates: bool = False,
        linear: bool = False,
    ) -> Layer:
        """Add a layer with its parameters. `bare`: without norm and activation; `linear`: without activation; `gates`: multiplies others,
        with one output per unit."""
        bare, noisy = bare or not readers, noisy and self.noisy
        normed = not bare and self.spec.norm != "none"
        learned = not (bare or linear) and self.spec.activation in LEARNED
        layer = Layer(
            name=name,
            weight=f"{name}.weight",
            bias=None if normed else f"{name}.bias",
            scale=f"{name}.scale" if normed else None,
            offset=f"{name}.offset" if normed else None,
            units=weight[0],
            readers=readers,
            columns=columns,
            activation=None if bare or linear else "relu" if gates and self.copies > 1 else self.spec.activation,
            weight_noise=f"{name}.weight_noise" if noisy else None,
            bias_noise=f"{name}.bias_noise" if noisy and not normed else None,
            shared=shared,
            copies=1 if bare or linear or gates else self.copies,
            singular=(f"{name}.left", f"{name}.right") if readers and self.spec.weights == "spectral-norm" else (),
            slope=f"{name}.slope" if learned else None,
            powered=bool(readers) and self.spec.weights == "powerprop",
        )
        self.shapes |= dict(zip(layer.singular, ((layer.units,), (prod(weight[1:]),)), strict=False))
        self.shapes |= dict.fromkeys(layer.own, (layer.units,)) | dict.fromkeys(layer.weights, weight)
        return layer
