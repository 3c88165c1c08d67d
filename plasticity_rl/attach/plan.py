"""The interventions in anybody's loop: a plain nn.Module, trained by torch.optim."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves, tree_map

from plasticity_rl.attach.module_params import bare_layers, check_renewable, renewed
from plasticity_rl.attach.optimizer_state import SLOTS, Memory
from plasticity_rl.checks import UsageError, check_repeats, choose
from plasticity_rl.interventions.base import Intervention, Refresh, RefreshContext, State, UpdateContext
from plasticity_rl.interventions.chain import Chain, due_refreshes, overrides, purpose_of
from plasticity_rl.networks.layers import Layer, Layers, Params
from plasticity_rl.networks.trace import Watch, Wiring, check_layers, flat, run, trace
from plasticity_rl.optim.optimizers import Net
from plasticity_rl.seeds import derive
from plasticity_rl.training.lift import copied
from plasticity_rl.training.noise import key, normals


def attach(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    chain: Chain,
    example_input: Any = None,
    seed: int = 0,
    layers: Layers | None = None,
    units: Mapping[str, str] | None = None,
    fresh: Callable[[], nn.Module] | None = None,
) -> "Plan":
    """Bring a chain's penalties, refreshes and projections to `module` as it is trained by `optimizer`. Tensors are written in place, never
    replaced, so the optimizer, and whoever else holds them, keeps them.

        plan = attach(module, optimizer, (ReDo(), L2Init()), example_input)
        loss = criterion(module(x), y) + plan.penalty()
        loss.backward(); optimizer.step(); plan.after_step()
        plan.task_boundary()                                    # where tasks change, if a method asks for it

    Methods that take parameters alone - penalties on weights, noise, clipping, resets of everything - go with any module (recurrent cells,
    transformers, embeddings, batch norms) and need no `example_input`; module_params.py says which parameters are weights there. Others
    look at units or heads (`Intervention.traced`), and the wiring is read off one forward pass on `example_input` (a batch, or a tuple of
    arguments): linear layers and convolutions, each with a norm (LayerNorm, GroupNorm, RMSNorm) or none and an activation, pooling,
    flattening, several heads, sums of units as in residual networks. Elsewhere state it, as `layers`
    (plasticity_rl.networks.layers.Layer) by the module's own parameter names, and for methods that look at units, `units`: layer -> the
    submodule, called once in a pass, whose output they are. Of nn.Sequential(Linear, ReLU, Linear) that is

        layers = (
            Layer("first", "0.weight", "0.bias", None, None, units=64, readers=("out",), columns=1, activation="relu"),
            Layer("out", "2.weight", "2.bias", None, None, units=10, readers=(), columns=1, activation=None),
        )
        plan = attach(module, optimizer, (ReDo(),), layers=layers, units={"first": "1"})

    A layer that is read in a way which `columns` cannot tell, as side by side with another's units, is `shared=True`: methods that recycle
    units leave it alone. Parameters of no layer are left alone altogether. Frozen ones (without requires_grad) stay as they are, whatever
    the method; a chain that refreshes is refused where one of its layers is frozen.

    What a refresh puts in place is what `fresh()` returns, a newly made module, or a copy whose `reset_parameters()` were called: PyTorch's
    initialisers, so give `fresh` where yours are others. Its random numbers are functions of `seed` alone and leave yours as they are.
    Buffers, such as running statistics, stay.

    Refreshes need torch.optim.Adam, AdamW, RMSprop or SGD. Raises UsageError, a line, for what cannot be attached.
    """
    for each in chain:
        if not isinstance(each, Intervention):
            raise UsageError(f"a chain is a tuple of interventions, and {each!r} is none")
    check_repeats(chain)
    _check_yours(chain)
    traced = [type(each).__name__ for each in chain if each.traced]
    params = dict(module.named_parameters(remove_duplicate=not (traced or layers)))
    for name, param in params.items():
        if is_lazy(param):
            raise UsageError(f"{name} has no shape yet: send a batch through the module first")
    if len({id(param) for param in params.values()}) < len(params):
        raise UsageError("parameters that several layers share cannot be attached: no unit there is one layer's alone")
    if layers is None and not traced:
        wiring = Wiring(bare_layers(module), {}, {}, True)
    elif layers is None:
        if example_input is None:
            raise UsageError(f"{traced[0]} needs example_input, a batch for the module, or the wiring as layers=(Layer(...), ...)")
        wiring = trace(module, _arguments(example_input))
        _check_built(chain, wiring.layers, wiring.norms)
    else:
        check_layers(layers, params)
        wiring = Wiring(layers, {}, {}, True)
        _check_built(chain, layers, None)
    for each in chain:
        each.require(wiring.layers)
    modules = dict(module.named_modules())
    for name, path in (units or {}).items():
        choose("layer in units", name, [layer.name for layer in wiring.layers])
        choose("submodule in units", path, modules)
    params = {name: params[name] for layer in wiring.layers for name in layer.parameters}
    held = {id(param) for group in optimizer.param_groups for param in group["params"]}
    for name, param in params.items():
        if id(param) not in held:
            raise UsageError(f"the optimizer does not hold {name}: make it of the module that is attached")
    refreshed = any(isinstance(each, Refresh) for each in chain)
    for name, param in params.items():
        if refreshed and not param.requires_grad:
            raise UsageError(f"{name} is frozen, and a refresh would overwrite it: state the wiring without its layer, as layers=(...)")
    if fresh is None and any(isinstance(each, Refresh) and each.renews for each in chain):
        check_renewable(module, params)
    memory = None
    if refreshed or any(overrides(each, "after_step") for each in chain):
        if type(optimizer) not in SLOTS:
            who = next(type(each).__name__ for each in chain if isinstance(each, Refresh) or overrides(each, "after_step"))
            names = [kind.__name__ for kind in SLOTS]
            raise UsageError(
                f"{who} needs an optimizer whose memory is known, torch.optim's {', '.join(names)} themselves, not {_kind(optimizer)}"
            )
        memory = Memory(optimizer, params)
    return Plan(module, params, chain, wiring, dict(units or {}), memory, optimizer, seed, fresh)


class Plan:
    """A chain that is attached to a module; made by `attach`. As in a Learner, refreshes look at the batch last learned from: here, the
    last one that went through the module in training mode with gradients."""

    def __init__(
        self,
        module: nn.Module,
        params: dict[str, nn.Parameter],
        chain: Chain,
        wiring: Wiring,
        units: dict[str, str],
        memory: Memory | None,
        optimizer: torch.optim.Optimizer,
        seed: int,
        fresh: Callable[[], nn.Module] | None,
    ) -> None:
        self.module, self.params, self.chain, self.layers, self.seed = module, params, chain, wiring.layers, seed
        self.ticks = {"update": 0, "task": 0}
        self.batch: tuple[tuple, dict[str, Any]] | None = None
        """(args, kwargs) of the module's last training pass; set it where batches go in by other ways than the module's call"""
        self._wiring, self._units, self._memory, self._optimizer, self._make = wiring, units, memory, optimizer, fresh
        self._looking = False
        self.states = [self._born(index, each) for index, each in enumerate(chain)]
        self._handles: list[Any] = [module.register_forward_pre_hook(self._hook(), with_kwargs=True)]

    def penalty(self) -> Tensor:
        """What the chain adds to the loss, a scalar."""
        total = torch.zeros((), device=self._device)
        for each, state in zip(self.chain, self.states, strict=True):
            if overrides(each, "penalty"):
                total = total + each.penalty(dict(self.params), state, self.layers, UpdateContext(self._look, {}))
        return total

    @torch.no_grad()
    def after_step(self) -> tuple[Refresh, ...]:
        """To be called after every step of the optimizer, before gradients are set to zero. Returns the interventions that refreshed."""
        for index, each in enumerate(self.chain):
            if overrides(each, "after_step"):
                net, context = self._net(), UpdateContext(self._look, self._noise(index) if each.noisy else {})
                self._write(index, net, *each.after_step(net, self.states[index], self._grads(), self.layers, context))
        self._project()
        return self._tick("update")

    @torch.no_grad()
    def task_boundary(self) -> tuple[Refresh, ...]:
        """Tell the chain that the task changes. Returns the interventions that refreshed."""
        return self._tick("task")

    def hook(self) -> None:
        """For loops that one cannot open: at every step of the optimizer, add the penalty's gradient right before (after any clipping), and
        call `after_step` right after. The step must be without a closure."""

        def before(*_: Any) -> None:
            if any(overrides(each, "penalty") for each in self.chain):
                learned = [param for param in self.params.values() if param.requires_grad]
                with torch.enable_grad():
                    grads = torch.autograd.grad(self.penalty(), learned, allow_unused=True)
                for param, grad in zip(learned, grads, strict=True):
                    if grad is not None:
                        param.grad = grad if param.grad is None else param.grad.add_(grad)

        def after(*_: Any) -> None:
            self.after_step()

        self._handles += [self._optimizer.register_step_pre_hook(before), self._optimizer.register_step_post_hook(after)]

    def detach(self) -> None:
        """Take all hooks away."""
        for handle in self._handles:
            handle.remove()
        if self._memory is not None:
            self._memory.detach()

    def fresh(self, *purpose: int | str) -> Params:
        """A newly initialised module's parameters, a function of the seed and the purpose alone."""
        devices = sorted({param.device.index or 0 for param in self.params.values() if param.is_cuda})
        with torch.random.fork_rng(devices=devices), torch.enable_grad():
            torch.manual_seed(derive(self.seed, 0, "network", *purpose))
            made = renewed(self.module) if self._make is None else self._make()
        new = dict(made.named_parameters())
        for name, param in self.params.items():
            if name not in new or new[name].shape != param.shape:
                raise UsageError(f"fresh() made a module whose {name} is not of the shape {tuple(param.shape)}")
        return {name: new[name].detach().to(param) for name, param in self.params.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """All that it remembers but the last batch; the module's and the optimizer's state are yours to save beside it."""
        named = {f"ticks/{clock}": torch.tensor(ticks) for clock, ticks in self.ticks.items()}
        for index, state in enumerate(self.states):
            named |= {f"states/{index}/{name}": tensor.clone() for name, tensor in state.items()}
        born = {} if self._memory is None else self._memory.born
        return named | {f"born/{name}": tensor.clone() for name, tensor in born.items()}

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `state_dict` gave. Raises KeyError or RuntimeError where it is another chain's, and changes nothing."""
        given = {name: tensor for name, tensor in tensors.items() if not name.startswith("born/")}
        mine = {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("born/")}
        for name in mine | given:
            if given[name].shape != mine[name].shape:
                raise RuntimeError(f"{name} has the shape {tuple(mine[name].shape)} here, and {tuple(given[name].shape)} in what is loaded")
        for index, state in enumerate(self.states):
            for name, tensor in state.items():
                tensor.copy_(tensors[f"states/{index}/{name}"])
        self.ticks = {clock: int(tensors[f"ticks/{clock}"]) for clock in self.ticks}
        if self._memory is not None:
            born = {name.removeprefix("born/"): tensor for name, tensor in tensors.items() if name.startswith("born/")}
            self._memory.load(born)

    @property
    def _device(self) -> torch.device:
        return next(iter(self.params.values())).device

    def _hook(self) -> Callable[..., None]:
        def see(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
            # A copy of the module, such as a target network, brings the hook with it.
            if module is self.module and module.training and torch.is_grad_enabled() and not self._looking:
                self.batch = tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, (args, kwargs))

        return see

    def _look(self, params: Params, raw: bool = False) -> tuple[Tensor, Params]:
        """As Network.apply on the last batch: outputs side by side, and each hidden layer's units."""
        if self.batch is None:
            raise UsageError("no batch has gone through the module in training mode with gradients: nothing to look at yet")
        args, kwargs = self.batch
        caught: Params = {}
        handles = [self.module.get_submodule(path).register_forward_hook(_catch(caught, name, raw)) for name, path in self._units.items()]
        self._looking = True
        try:
            with Watch(dict(self._wiring.units.values()), raw, self._wiring.in_place) as watch:
                outputs = run(self.module, params, args, kwargs)
        finally:
            self._looking = False
            for handle in handles:
                handle.remove()
        heads = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
        rows = [head if len(heads) == 1 else head.reshape(len(head), -1) for head in heads]
        features = watch.features(self.layers, self._wiring.units)
        for layer in self.layers:
            if layer.name in caught:
                features[layer.name] = self._flat(layer, caught[layer.name], 1 if raw else layer.copies)
        return torch.cat(rows, -1), _Units({name: units.to(params[self._weight(name)].dtype) for name, units in features.items()})

    def _flat(self, layer: Layer, units: Tensor, copies: int) -> Tensor:
        """A stated submodule's units, (samples, units)."""
        dense, made, shape = self.params[layer.weight].ndim == 2, layer.units * copies, tuple(units.shape)
        if dense and len(shape) > 2:  # nn.Linear's of a sequence: (batch, time, units)
            units = units.movedim(-1, 1)
        held = units.shape[1] if len(shape) > 1 else 0
        if held != made and (held == 0 or held % made or len(shape) > 2 or dense):
            raise UsageError(f"units={{{layer.name!r}: ...}}: an output of shape {shape} does not hold {made} units for each example")
        return flat(units, layer.units, copies)

    def _weight(self, layer: str) -> str:
        return next(each.weight for each in self.layers if each.name == layer)

    def _noise(self, index: int) -> Params:
        """Normal numbers for a method of the chain in this update."""
        seed = derive(self.seed, 0, "noise", *purpose_of(self.chain, index), self.ticks["update"])
        numbers = normals(key([seed])[0], {name: tuple(param.shape) for name, param in self.params.items()})
        return {name: each.to(self.params[name]) for name, each in numbers.items()}

    def _grads(self) -> Params:
        if all(param.grad is None for param in self.params.values()):
            raise UsageError("after_step() found no gradients: call it before they are set to zero")
        return {name: torch.zeros_like(param) if param.grad is None else param.grad.detach() for name, param in self.params.items()}

    def _net(self) -> Net:
        return Net(self._values(), {} if self._memory is None else self._memory.slots())

    def _values(self) -> Params:
        return {name: param.detach() for name, param in self.params.items()}

    def _born(self, index: int, each: Intervention) -> State:
        state = each.init(self._values(), self.layers, self._draw("state", *purpose_of(self.chain, index)))
        return {name: tensor.detach().clone().to(self._device) for name, tensor in state.items()}

    def _draw(self, *purpose: int | str) -> torch.Generator:
        return torch.Generator().manual_seed(derive(self.seed, 0, *purpose))

    def _tick(self, clock: str) -> tuple[Refresh, ...]:
        self.ticks[clock] += 1
        due = due_refreshes(self.chain, clock, self.ticks[clock])
        for index, each in due:
            fresh = self.fresh(*purpose_of(self.chain, index), clock, self.ticks[clock]) if each.renews else {}
            net = self._net()
            features = {} if self.batch is None or not each.traced else self._look(net.params)[1]
            self._write(index, net, *each.refresh(net, self.states[index], RefreshContext(fresh, features), self.layers))
        if due:
            self._project()
        return tuple(each for _, each in due)

    def _project(self) -> None:
        for index, each in enumerate(self.chain):
            if overrides(each, "project"):
                net = self._net_of_params()
                params, state = each.project(net.params, self.states[index], self.layers)
                self._write(index, net, net._replace(params=params), state)

    def _net_of_params(self) -> Net:
        return Net(self._values(), {})

    def _write(self, index: int, old: Net, new: Net, state: State) -> None:
        """Put new values into the module's own tensors, the optimizer's, and the state's."""
        learned = [name for name, param in self.params.items() if param.requires_grad]
        params = {name: new.params[name].clone() for name in learned if new.params[name] is not old.params[name]}
        state = copied({name: tensor for name, tensor in state.items() if tensor is not self.states[index][name]})
        for name, param in params.items():
            self.params[name].copy_(param)
        for name, tensor in state.items():
            self.states[index][name].copy_(tensor)
        if self._memory is not None and old.slots:
            self._memory.write(old.slots, new.slots)


class _Units(dict[str, Tensor]):
    """Layer -> its units, on a wiring that may have been stated without them: not to be taken for a batch that was never seen."""

    def __bool__(self) -> bool:
        return True

    def __missing__(self, layer: str) -> Tensor:
        raise UsageError(f"the units of {layer} are asked for: attach(..., units={{{layer!r}: 'the submodule whose output they are'}})")


def _catch(caught: Params, name: str, raw: bool) -> Callable[..., None]:
    def catch(module: nn.Module, args: tuple, output: Tensor) -> None:
        if name in caught:
            raise UsageError(f"units={{{name!r}: ...}} must be a submodule that is called once in a pass")
        if not isinstance(output, Tensor):
            raise UsageError(f"units={{{name!r}: ...}} must be a submodule whose output is a tensor")
        caught[name] = (args[0] if raw else output).clone()

    return catch


def _arguments(example: Any) -> tuple:
    return example if isinstance(example, tuple) else (example,)


def _kind(optimizer: torch.optim.Optimizer) -> str:
    name = type(optimizer).__name__
    return f"one derived from {name}" if any(kind.__name__ == name for kind in SLOTS) else name


def _check_yours(chain: Chain) -> None:
    """Is there nothing in the chain that whoever builds the module and the optimizer has to do?"""
    for each in chain:
        who, fields = type(each).__name__, each.build()
        if each.optimizer():
            raise UsageError(f"{who} sets {', '.join(each.optimizer())} of the optimizer, which is yours: give it to torch.optim instead")
        if fields and not (isinstance(each, Refresh) or any(overrides(each, hook) for hook in ("penalty", "after_step", "project"))):
            raise UsageError(f"{who} only builds ({', '.join(fields)}), and the module is built: put it there yourself")


def _check_built(chain: Chain, layers: Layers, norms: dict[str, str] | None) -> None:
    """Is what the chain would build there? `norms`: layer -> the kind of its norm, where that is known."""
    for each in chain:
        who, fields = type(each).__name__, each.build()
        for name, value in fields.items():
            for layer in (layer for layer in layers if layer.activation is not None):
                if name == "norm" and (norms is None or layer.scale is None):
                    continue  # the method's own `require` says what is missing
                found = {"norm": (norms or {}).get(layer.name), "activation": layer.activation}.get(name)
                if found != value:
                    there = f"{layer.name} has {found}" if name in ("norm", "activation") else "the module is built"
                    raise UsageError(f"{who} builds {name}={value}, and {there}; put it there yourself")
