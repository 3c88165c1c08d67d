"""Networks of people's own: an nn.Module as the network of an experiment, traced once, then a pure function of its parameters."""

import dataclasses
import importlib
import inspect
import typing
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import nullcontext
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parameter import is_lazy

from plasticity_rl.checks import UsageError, check
from plasticity_rl.networks.calls import BY_HAND, LayerGraph, Watch
from plasticity_rl.networks.layers import HeadSpec, Layer, Layers, Params, network_of
from plasticity_rl.networks.network import Network, inputs_of
from plasticity_rl.networks.specs import ENOUGH_MEMBERS
from plasticity_rl.networks.steps import channels_last
from plasticity_rl.networks.trace import trace

FIRST = ("inputs", "outputs")
"""first parameters of a factory: shape of one example, and number of outputs"""
REFUSED: dict[type, str] = {
    nn.RNNBase: "is recurrent, and an agent's loss gives it single steps without a state",
    nn.RNNCellBase: "is recurrent, and an agent's loss gives it single steps without a state",
    _NormBase: "has running statistics, which are no parameters; take LayerNorm or GroupNorm",
    _DropoutNd: "draws random numbers in the forward pass, which is a function of parameters and inputs alone",
}


class ModuleSpec(ABC):
    """Spec of a network whose module people build themselves; a frozen dataclass, whose fields are the settings of the module."""

    precision: ClassVar[str] = "float32"

    @abstractmethod
    def build(self, inputs: tuple[int, ...], outputs: int) -> nn.Module:
        """New module for examples of shape `inputs`, whose output is (batch, outputs); torch's generator is its only randomness."""

    def shares_well(self, members: int, inputs: tuple[int, ...]) -> bool:
        """True if an update of so many members is enough work for several threads, by the project's own rule; a module is built to see."""
        if members >= ENOUGH_MEMBERS:
            return True
        with torch.random.fork_rng(devices=[]):
            return any(param.ndim > 2 for param in self.build(inputs, 1).parameters())

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(typing.cast(Any, self))}
        return _restored, (type(self).__module__, type(self).__name__, fields)


def adapted(made: Any) -> type | None:
    """Spec class of a factory `(inputs, outputs, **fields) -> nn.Module`, such as a module's class, or of a frozen dataclass whose `build`
    is one; None for anything else. Raises UsageError if a field cannot be one of an experiment."""
    if isinstance(made, type) and issubclass(made, ModuleSpec):
        return made
    if isinstance(made, type) and issubclass(made, nn.Module):
        return _spec(made) if _takes(made.__init__, 1) else None
    if isinstance(made, type):
        frozen = "__dataclass_params__" in vars(made) and vars(made)["__dataclass_params__"].frozen
        return _spec(made) if frozen and _takes(getattr(made, "build", None), 1) else None
    return _spec(made) if inspect.isfunction(made) and _takes(made, 0) else None


def _takes(function: Any, skipped: int) -> bool:
    """True for a function whose parameters, after `skipped` ones, begin with FIRST."""
    return inspect.isfunction(function) and tuple(inspect.signature(function).parameters)[skipped : skipped + 2] == FIRST


def _spec(made: Any) -> type:
    try:
        return _dataclass(made)
    except (TypeError, ValueError, NameError) as error:  # a default that can be changed, a type that is not known
        raise UsageError(f"{made.__module__}.{made.__name__}: {error}") from error


@cache
def _dataclass(made: Any) -> type:
    """A frozen dataclass with the name, the home and the fields of a factory."""
    about = {"__module__": made.__module__, "__doc__": inspect.getdoc(made)}
    if isinstance(made, type) and not issubclass(made, nn.Module):
        return dataclasses.dataclass(frozen=True)(type(made.__name__, (made, ModuleSpec), about))
    hints = typing.get_type_hints(made.__init__ if isinstance(made, type) else made, include_extras=True)
    fields = []
    for name, parameter in list(inspect.signature(made).parameters.items())[len(FIRST) :]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        default = dataclasses.MISSING if parameter.default is parameter.empty else parameter.default
        fields.append((name, hints.get(name, type(default)), dataclasses.field(default=default, kw_only=True)))

    def build(self: Any, inputs: tuple[int, ...], outputs: int) -> nn.Module:
        return made(inputs, outputs, **{name: getattr(self, name) for name, _, _ in fields})

    methods: dict[str, Any] = {"build": build, "__post_init__": check}
    spec = dataclasses.make_dataclass(made.__name__, fields, bases=(ModuleSpec,), namespace=about | methods, frozen=True)
    spec.__module__ = made.__module__
    return spec


def _restored(home: str, name: str, fields: dict[str, Any]) -> Any:
    """A spec in another process."""
    spec = adapted(getattr(importlib.import_module(home), name))
    assert spec is not None
    return spec(**fields)


class ModuleNetwork(Network):
    """A network of people's own. Agents with separate networks build one module for each."""

    def __init__(
        self, spec: ModuleSpec, inputs: tuple[int, ...], heads: int | HeadSpec, own: Mapping[str, ModuleSpec] | None = None
    ) -> None:
        """`own` as for Network. Raises UsageError if the module cannot be understood, or cannot have the heads that the agent requests."""
        heads = HeadSpec((("head", heads),)) if isinstance(heads, int) else heads
        self._own, self.heads, self._observed = spec, heads, inputs
        self.inputs = inputs_of(inputs, heads)
        self.spec, self.own = typing.cast(Any, spec), typing.cast(Any, dict(own or {}))
        self._who = f"{type(spec).__module__}.{type(spec).__name__}"
        self.outputs = sum(outputs for _, outputs in heads.heads)
        self.non_trainable, self.noise = frozenset[str](), 0
        asked = {"dueling streams": heads.streams, "noisy layers": heads.noise is not None, "quantile fractions": heads.cosines}
        for what in (what for what, there in asked.items() if there):
            raise UsageError(f"{self._who} builds its last layers itself, and the agent asks for {what} there")
        self._module = self._build(0)
        params = self._checked(self._module)
        self.shapes = {name: tuple(param.shape) for name, param in params.items()}
        for name, param in self._checked(self._build(0)).items():
            if not torch.equal(param, params[name]):
                raise UsageError(f"{self._who}: {name} differs between two modules of one seed; draw it by torch's generator alone")
        self._graph = self._traced(params)
        self.layers: tuple[Layer, ...] = self._graph.layers
        self.shapes |= {name: (size,) for name, size, _ in heads.constants}

    @property
    def convolves(self) -> bool:
        return any(len(self.shapes[layer.weight]) > 2 for layer in self.layers)

    def init(self, generator: torch.Generator) -> Params:
        """A new module's parameters, float32: a function of a number drawn from `generator`."""
        module = self._build(int(torch.randint(2**62, (), generator=generator)))
        drawn = {name: param.detach() for name, param in module.named_parameters()}
        return drawn | {name: torch.full((size,), value) for name, size, value in self.heads.constants}

    def low_precision(self, params: Params) -> Params:
        return {}

    def apply(
        self,
        params: Params,
        inputs: Tensor,
        noise: Tensor | None = None,
        fractions: Tensor | None = None,
        task: Tensor | None = None,
        raw: bool = False,
        only: tuple[str, ...] = (),
    ) -> tuple[Tensor, Params]:
        x = inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs
        x = channels_last(x) if x.ndim == 4 else x
        watch = None if only else Watch(dict(self._graph.units.values()), raw, self._graph.in_place)  # calls are counted over all networks
        found = self._call(params, x, watch, only)
        outputs = [self._of_task(each, task) for each in found]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1), watch.features(self._graph) if watch else {}

    def limited(
        self, params: Params, inputs: Tensor, task: Tensor | None, raw: bool, only: tuple[str, ...] | None
    ) -> tuple[Tensor, Params]:
        outputs, features = self.apply(params, inputs, task=task, raw=raw)
        if only is None:
            return outputs, features
        sizes = [(prefix.removesuffix("."), sum(outputs for _, outputs in heads.heads)) for prefix, heads in self.heads.networks()]
        each = outputs.split([size for _, size in sizes], -1)
        own = [mine for mine, (name, _) in zip(each, sizes, strict=True) if name in only]
        return torch.cat(own, -1), {name: units for name, units in features.items() if network_of(name) in only}

    def activated(self, params: Params, raw: Params) -> Params:
        return {name: self._graph.functions[name](units) for name, units in raw.items()}

    def check_built(self, method: str, fields: dict[str, Any], layers: Layers) -> None:
        """Raise UsageError if these layers are not what a method has built."""
        for layer in layers:
            found = {"norm": self._graph.norms.get(layer.name), "activation": layer.activation}
            for name in found.keys() & fields.keys() if layer.activation is not None else ():
                if found[name] != fields[name]:
                    raise UsageError(f"{method} builds {name}={fields[name]}, and {layer.name} of {self._who} has {found[name]}")

    def _build(self, seed: int) -> nn.Module:
        parts = [
            (prefix.removesuffix("."), heads.tasks * sum(outputs for _, outputs in heads.heads)) for prefix, heads in self.heads.networks()
        ]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            try:
                modules = {name: self._own.build(self._inputs_of(name), outputs) for name, outputs in parts}
                modules |= {name: self.own[name].build(self._inputs_of(name), outputs) for name, outputs in parts if name in self.own}
            except UsageError:
                raise
            except Exception as error:  # a user's factory may fail in any way
                raise UsageError(f"{self._who} cannot be built for inputs of shape {self.inputs}: {_reason(error)}") from error
        for module in modules.values():
            if not isinstance(module, nn.Module):
                raise UsageError(f"{self._who} must make an nn.Module, not {module!r}")
        observed = dict.fromkeys(modules.keys() - {*self.heads.critics}, self._observed[0]) if self.heads.actions else {}
        return Beside(modules, observed) if self.heads.separate else modules[""]

    def _inputs_of(self, name: str) -> tuple[int, ...]:
        return self.inputs if name in self.heads.critics else self._observed

    def _call(self, params: Params, x: Tensor, watch: Watch | None = None, only: tuple[str, ...] = ()) -> tuple[Tensor, ...]:
        buffers = {name: buffer.to(x.device) for name, buffer in self._module.named_buffers()}
        with watch or nullcontext():
            found = functional_call(self._module, {**buffers, **params}, (x, only) if only else (x,))
        return found if self.heads.separate else (found,)

    def _of_task(self, outputs: Tensor, task: Tensor | None) -> Tensor:
        """Select the outputs of each row's task from (batch, tasks x outputs)."""
        if self.heads.tasks == 1:
            return outputs
        each = outputs.unflatten(1, (self.heads.tasks, -1))
        chosen = torch.zeros_like(outputs[:, 0], dtype=torch.int64) if task is None else task.expand(len(outputs))
        return each.gather(1, chosen.view(-1, 1, 1).expand(-1, 1, each.shape[2]))[:, 0]

    def _checked(self, module: nn.Module) -> Params:
        """The module's parameters, none of which stands under two names, is frozen or is not float32."""
        for path, each in module.named_modules():
            for kind, reason in REFUSED.items():
                if isinstance(each, kind):
                    raise UsageError(f"{self._who}: {path or type(each).__name__} ({type(each).__name__}) {reason}")
        params = dict(module.named_parameters(remove_duplicate=False))
        if len({id(param) for param in params.values()}) < len(params):
            raise UsageError(f"{self._who}: parameters that several layers share are not understood")
        for name, param in params.items():
            if is_lazy(param):
                raise UsageError(f"{self._who}: {name} has no shape; its shape follows from inputs and outputs, which the factory is given")
            if param.dtype != torch.float32 or not param.requires_grad:
                raise UsageError(f"{self._who}: {name} must be a float32 parameter that is trained")
        return {name: param.detach() for name, param in params.items()}

    def _traced(self, params: Params) -> LayerGraph:
        """The module's layer graph; checks its outputs and that several members can be called side by side."""
        example = torch.linspace(0, 1, 2 * torch.Size(self.inputs).numel()).view(2, *self.inputs)
        before = {name: buffer.clone() for name, buffer in self._module.named_buffers()}
        try:
            graph = trace(self._module, (example,))
        except UsageError as error:
            reason = str(error).replace(f"; {BY_HAND}", "").replace(f": remove it from the module, or {BY_HAND}", ": remove it")
            raise UsageError(f"{self._who}: {reason}") from error
        except Exception as error:  # a user's module may fail in any way
            raise UsageError(f"{self._who} fails for inputs of shape {tuple(example.shape)}: {_reason(error)}") from error
        for name in (name for name, norm in graph.norms.items() if norm == "batch"):
            raise UsageError(f"{self._who}: the norm of {name} makes an example's outputs depend on its batch; take LayerNorm or GroupNorm")
        if graph.random:
            raise UsageError(f"{self._who}: {graph.random} draws random numbers in the forward pass, a function of parameters and inputs")
        with torch.no_grad():
            found = self._call(params, example)
        if any(not torch.equal(buffer, before[name]) for name, buffer in self._module.named_buffers()):
            raise UsageError(f"{self._who}: its buffers change in the forward pass, which members do not have")
        wanted = [heads.tasks * sum(outputs for _, outputs in heads.heads) for _, heads in self.heads.networks()]
        for each, outputs in zip(found, wanted, strict=True):
            shape = tuple(each.shape) if isinstance(each, Tensor) else type(each).__name__
            if shape != (2, outputs):
                raise UsageError(f"{self._who}: outputs for 2 examples must be a tensor of shape (2, {outputs}), not {shape}")
        try:
            with torch.no_grad():
                vmap(self._call, (0, None))({name: param.expand(2, *param.shape) for name, param in params.items()}, example)
        except Exception as error:
            raise UsageError(
                f"{self._who} cannot be called for several members side by side (torch.func.vmap): {_reason(error)}"
            ) from error
        return graph


def _reason(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


class Beside(nn.Module):
    """Modules side by side. Those in `observed` read the first so many inputs, others all."""

    def __init__(self, modules: dict[str, nn.Module], observed: dict[str, int]) -> None:
        super().__init__()
        self._observed = observed
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor, only: tuple[str, ...] = ()) -> tuple[Tensor, ...]:
        return tuple(
            module(x[:, : self._observed[name]] if name in self._observed else x)
            for name, module in self.named_children()
            if not only or name in only
        )
