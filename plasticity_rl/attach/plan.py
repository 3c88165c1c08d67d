"""Interventions for any training loop: a plain nn.Module trained by a torch.optim optimizer."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from plasticity_rl.attach.chains import chain_of
from plasticity_rl.attach.module_params import bare_layers, bare_statistics, check_reinitialisable, reinitialised, unwrapped
from plasticity_rl.attach.optimizer_state import OptimizerState
from plasticity_rl.attach.refusals import (
    check_built,
    check_callable,
    check_chain,
    check_shapes,
    check_statistics,
    check_trained,
    check_units,
    check_untied,
    reaches_optimizer,
)
from plasticity_rl.attach.units import NO_BATCH, Units, Unseen, caught_by
from plasticity_rl.checks import UsageError
from plasticity_rl.interventions.base import Intervention, Refresh, RefreshContext, State, UpdateContext
from plasticity_rl.interventions.chain import Chain, due_refreshes, overrides, purpose_of
from plasticity_rl.networks.calls import LayerGraph, Watch, flat, named_params, run
from plasticity_rl.networks.layers import Layer, Layers, Params
from plasticity_rl.networks.trace import check_layers, trace
from plasticity_rl.noise import key, normals
from plasticity_rl.optim.optimizers import Net
from plasticity_rl.seeds import derive
from plasticity_rl.training.lift import copied


def attach(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    chain: Iterable[str | Intervention],
    example_input: Any = None,
    seed: int = 0,
    layers: Layers | None = None,
    units: Mapping[str, str] | None = None,
    fresh: Callable[[], nn.Module] | None = None,
    example_kwargs: dict[str, Any] | None = None,
) -> "Plan":
    """Apply a chain's penalties, refreshes and projections to `module` while `optimizer` trains it.

    Methods are made, `ReDo(tau=0.1)`, or in words, `"redo:tau=0.1"`.

        plan = attach(module, optimizer, (ReDo(), L2Init()), example_input)
        loss = criterion(module(x), y) + plan.penalty()
        loss.backward(); optimizer.step(); plan.after_step()
        plan.task_boundary()                                    # at task changes, if a method needs them

    Tensors are written in place, never replaced, so the optimizer and all other references stay valid.

    Methods that need parameters alone - penalties on weights, noise, clipping, full resets - work on any module (recurrent cells,
    transformers, embeddings, tied weights) and need no `example_input`; module_params.py defines which parameters are weights there. Other
    methods need units, heads or the layer graph (`Intervention.needs_layer_graph`). It is traced in one forward pass on `example_input` (a
    batch, or a tuple of arguments, with `example_kwargs` beside) and covers linear layers, also on sequences, and convolutions, each with
    an optional norm (LayerNorm, GroupNorm, RMSNorm, BatchNorm) and an activation; pooling, rearranging, several heads, and sums of units as
    in residual networks. LSTM, GRU and attention are layers without units of their own: methods that recycle units skip them, and recycle
    the linear layers before, between and behind them. Parameters of no layer, such as an embedding's table or a policy's log_std, go with
    the first hidden layer if layers read them, else with the last head. Weights that several layers share are refused.

    A module that torch.compile made is attached as the module in it. Where a method needs units, one more forward pass runs uncompiled.

    For any other module, give the layer graph as `layers` (plasticity_rl.networks.layers.Layer) with the module's own parameter names.
    Methods that look at units then need `units`: layer -> the submodule, called once per pass, that outputs them. For nn.Sequential(Linear,
    ReLU, Linear):

        layers = (
            Layer("first", "0.weight", "0.bias", None, None, units=64, readers=("out",), columns=1, activation="relu"),
            Layer("out", "2.weight", "2.bias", None, None, units=10, readers=(), columns=1, activation=None),
        )
        plan = attach(module, optimizer, (ReDo(),), layers=layers, units={"first": "1"})

    Set `shared=True` for a layer whose readers `columns` cannot describe, such as one concatenated with another's units; methods that
    recycle units skip it. Parameters outside all layers are never changed, nor are frozen ones (without requires_grad); a chain that
    refreshes is refused if one of its layers is frozen.

    A refresh takes its values from `fresh()`, which returns a new module; by default from a copy whose `reset_parameters()` were called.
    These are PyTorch's initialisers: give `fresh` if yours differ. Its random numbers depend on `seed` alone and leave the global
    generators unchanged. A unit whose incoming weights all become new ones has new running statistics, mean 0 and variance 1, in its batch
    norm: those of a dead unit, whose variance is near 0, would multiply the newborn's outputs in evaluation. All other buffers stay.

    Refreshes need torch.optim.Adam, AdamW, RMSprop or SGD. Raises UsageError, one line, if the chain cannot be attached.
    """
    chain = chain_of(chain)
    check_chain(chain)
    called, module = module, unwrapped(module)
    traced = [type(each).__name__ for each in chain if each.needs_layer_graph]
    params = named_params(module)
    check_shapes(params)
    if layers is not None:
        check_layers(layers, params)
        check_untied(params, [name for layer in layers for name in layer.parameters], "layers=")
        graph = LayerGraph(layers, {}, {}, True)
        check_built(chain, layers, None)
    elif not traced:
        graph = LayerGraph(bare_layers(module), {}, {}, True, statistics=bare_statistics(module))
    elif example_input is None:
        raise UsageError(f"{traced[0]} needs example_input, a batch for the module, or the layer graph as layers=(Layer(...), ...)")
    else:
        check_untied(params, params, traced[0])
        check_callable(module, traced[0])
        graph = trace(module, example_input if isinstance(example_input, tuple) else (example_input,), example_kwargs)
        check_built(chain, graph.layers, graph.norms)
    for each in chain:
        each.require(graph.layers)
    check_units(units or {}, graph.layers, module)
    params = {name: params[name] for layer in graph.layers for name in layer.parameters}
    check_trained(chain, params, optimizer)
    if fresh is None and any(isinstance(each, Refresh) and each.needs_fresh for each in chain):
        check_reinitialisable(module, params)
    optimizer_state = OptimizerState(optimizer, params) if reaches_optimizer(chain) else None
    check_statistics(chain, module, graph.statistics)
    return Plan(module, params, chain, graph, dict(units or {}), optimizer_state, optimizer, seed, fresh, called)


class Plan:
    """A chain attached to a module; made by `attach`.

    As in a Learner, refreshes see the last training batch: the last one that passed through the module in training mode with gradients.
    """

    def __init__(
        self,
        module: nn.Module,
        params: dict[str, nn.Parameter],
        chain: Chain,
        graph: LayerGraph,
        units: dict[str, str],
        optimizer_state: OptimizerState | None,
        optimizer: torch.optim.Optimizer,
        seed: int,
        fresh: Callable[[], nn.Module] | None,
        called: nn.Module,
    ) -> None:
        self.module, self.params, self.chain, self.layers, self.seed = module, params, chain, graph.layers, seed
        self.ticks = {"update": 0, "task": 0}
        self.refreshes = [0] * len(chain)
        """how often each method has refreshed since it was attached here"""
        self.batch: tuple[tuple, dict[str, Any]] | None = None
        """(args, kwargs) of the module's last training pass; set it before `after_step` if batches bypass the module's call"""
        self._graph, self._units, self._optimizer_state, self._optimizer, self._make_fresh = graph, units, optimizer_state, optimizer, fresh
        self._applying = False
        self.states = [self._initial_state(index, each) for index, each in enumerate(chain)]
        with torch.no_grad():
            self._project(born=True)
        self._called = called
        """the module that the loop calls: `module`, or what torch.compile made of it, within whose own hooks nothing can be kept"""
        self._handles: list[Any] = [called.register_forward_pre_hook(self._record_batch(), with_kwargs=True)]

    def __repr__(self) -> str:
        """Methods, layers with their numbers of units, and what has happened so far."""
        layers = ", ".join(f"{layer.name!r} ({layer.units})" for layer in self.layers)
        done = [f"{self.ticks['update']:,} updates", f"{self.ticks['task']:,} task boundaries"]
        pairs = zip(self.chain, self.refreshes, strict=True)
        done += [f"{type(each).__name__} refreshed {times:,} times" for each, times in pairs if isinstance(each, Refresh)]
        return f"Plan: {', '.join(map(repr, self.chain))}\nlayers: {layers}\n{', '.join(done)}"

    def penalty(self) -> Tensor:
        """Sum of the chain's penalties, a scalar to add to the loss."""
        total = torch.zeros((), device=self._device)
        for each, state in zip(self.chain, self.states, strict=True):
            if overrides(each, "penalty"):
                total = total + each.penalty(dict(self.params), state, self.layers, UpdateContext(self._apply, {}))
        return total

    @torch.no_grad()
    def after_step(self) -> tuple[Refresh, ...]:
        """Call after every optimizer step, before gradients are set to zero. Returns the interventions that refreshed."""
        if self._optimizer_state is not None:
            self._optimizer_state.correct()
        for index, each in enumerate(self.chain):
            if overrides(each, "after_step"):
                net, context = self._net(), UpdateContext(self._apply, self._noise(index) if each.noisy else {})
                self._write(index, net, *each.after_step(net, self.states[index], self._grads(), self.layers, context))
        self._project()
        return self._tick("update")

    @torch.no_grad()
    def task_boundary(self) -> tuple[Refresh, ...]:
        """Tell the chain that the task changes. Returns the interventions that refreshed."""
        return self._tick("task")

    def add_penalty_gradient(self) -> None:
        """Add the penalty's gradient to the parameters' gradients: what `penalty` in the loss would do, for loops that cannot be edited."""
        if any(overrides(each, "penalty") for each in self.chain):
            learned = [param for param in self.params.values() if param.requires_grad]
            with torch.enable_grad():
                grads = torch.autograd.grad(self.penalty(), learned, allow_unused=True)
            for param, grad in zip(learned, grads, strict=True):
                if grad is not None:
                    param.grad = grad if param.grad is None else param.grad.add_(grad)

    def hook(self) -> None:
        """Hook the chain to the optimizer, for training loops that cannot be edited.

        At every step of the optimizer, the penalty's gradient is added right before (after any gradient clipping), and `after_step` is
        called right after. The step must be without a closure.
        """

        def before(*_: Any) -> None:
            self.add_penalty_gradient()

        def after(*_: Any) -> None:
            self.after_step()

        self._handles += [self._optimizer.register_step_pre_hook(before), self._optimizer.register_step_post_hook(after)]

    def detach(self) -> None:
        """Remove all hooks."""
        for handle in self._handles:
            handle.remove()
        if self._optimizer_state is not None:
            self._optimizer_state.detach()

    def fresh(self, *purpose: int | str) -> Params:
        """Parameters of a newly initialised module, a function of the seed and the purpose alone."""
        devices = sorted({param.device.index or 0 for param in self.params.values() if param.is_cuda})
        with torch.random.fork_rng(devices=devices), torch.enable_grad():
            torch.manual_seed(derive(self.seed, 0, "network", *purpose))
            made = reinitialised(self.module) if self._make_fresh is None else unwrapped(self._make_fresh())
        new = dict(made.named_parameters())
        for name, param in self.params.items():
            if name not in new or new[name].shape != param.shape:
                raise UsageError(f"fresh() made a module whose {name} is not of the shape {tuple(param.shape)}")
        return {name: new[name].detach().to(param) for name, param in self.params.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """All of the plan's state except the last batch; save the module's and the optimizer's state beside it."""
        named = {f"ticks/{clock}": torch.tensor(ticks) for clock, ticks in self.ticks.items()}
        for index, state in enumerate(self.states):
            named |= {f"states/{index}/{name}": tensor.clone() for name, tensor in state.items()}
        reset_steps = {} if self._optimizer_state is None else self._optimizer_state.reset_steps
        return named | {f"reset_steps/{name}": tensor.clone() for name, tensor in reset_steps.items()}

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` returned. Raises KeyError or RuntimeError, and changes nothing, if another chain made it."""
        given = {name: tensor for name, tensor in tensors.items() if not name.startswith("reset_steps/")}
        mine = {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("reset_steps/")}
        for name in mine | given:
            if given[name].shape != mine[name].shape:
                raise RuntimeError(f"{name} has the shape {tuple(mine[name].shape)} here, and {tuple(given[name].shape)} in what is loaded")
        for index, state in enumerate(self.states):
            for name, tensor in state.items():
                tensor.copy_(tensors[f"states/{index}/{name}"])
        self.ticks = {clock: int(tensors[f"ticks/{clock}"]) for clock in self.ticks}
        if self._optimizer_state is not None:
            reset_steps = {name.removeprefix("reset_steps/"): tensor for name, tensor in tensors.items() if name.startswith("reset_steps/")}
            self._optimizer_state.load(reset_steps)

    @property
    def _device(self) -> torch.device:
        return next(iter(self.params.values())).device

    def _record_batch(self) -> Callable[..., None]:
        def record(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
            # copies of the module, such as a target network, carry this hook too
            if module is self._called and module.training and torch.is_grad_enabled() and not self._applying:
                self.batch = tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, (args, kwargs))

        return record

    def _apply(self, params: Params, raw: bool = False) -> tuple[Tensor, Params]:
        """Outputs side by side and each hidden layer's units on the last batch, as Network.apply."""
        if self.batch is None:
            raise UsageError(NO_BATCH)
        args, kwargs = self.batch
        caught: Params = {}
        handles = [
            self.module.get_submodule(path).register_forward_hook(caught_by(caught, name, raw)) for name, path in self._units.items()
        ]
        self._applying = True
        try:
            watch = Watch(dict(self._graph.units.values()), raw, self._graph.in_place)
            outputs = run(self.module, params, args, kwargs, watch)
        finally:
            self._applying = False
            for handle in handles:
                handle.remove()
        heads = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor) and leaf.ndim]  # a scalar is a loss
        rows = [head if len(heads) == 1 else head.reshape(len(head), -1) for head in heads]
        features = watch.features(self._graph)
        for layer in self.layers:
            if layer.name in caught:
                features[layer.name] = self._flat(layer, caught[layer.name], 1 if raw else layer.copies)
        shared = {layer.name for layer in self.layers if layer.shared}
        return torch.cat(rows, -1), Units({name: units.to(params[self._weight(name)].dtype) for name, units in features.items()}, shared)

    def _flat(self, layer: Layer, units: Tensor, copies: int) -> Tensor:
        """Output of a submodule named in `units`, as (samples, units)."""
        dense, made, shape = self.params[layer.weight].ndim == 2, layer.units * copies, tuple(units.shape)
        if dense and len(shape) > 2:  # nn.Linear on a sequence: (batch, time, units)
            units = units.movedim(-1, 1)
        held = units.shape[1] if len(shape) > 1 else 0
        if held != made and (held == 0 or held % made or len(shape) > 2 or dense):
            raise UsageError(f"units={{{layer.name!r}: ...}}: an output of shape {shape} does not hold {made} units for each example")
        return flat(units, layer.units, copies)

    def _weight(self, layer: str) -> str:
        return next(each.weight for each in self.layers if each.name == layer)

    def _noise(self, index: int) -> Params:
        """Standard normal numbers for one method in this update."""
        seed = derive(self.seed, 0, "noise", *purpose_of(self.chain, index), self.ticks["update"])
        numbers = normals(key([seed])[0], {name: tuple(param.shape) for name, param in self.params.items()})
        return {name: each.to(self.params[name]) for name, each in numbers.items()}

    def _grads(self) -> Params:
        if all(param.grad is None for param in self.params.values()):
            raise UsageError("after_step() found no gradients: call it before they are set to zero")
        return {name: torch.zeros_like(param) if param.grad is None else param.grad.detach() for name, param in self.params.items()}

    def _net(self) -> Net:
        return Net(self._values(), {} if self._optimizer_state is None else self._optimizer_state.slots())

    def _values(self) -> Params:
        return {name: param.detach() for name, param in self.params.items()}

    def _initial_state(self, index: int, each: Intervention, *since: int | str) -> State:
        state = each.init(self._values(), self.layers, self._draw("state", *purpose_of(self.chain, index), *since))
        return {name: tensor.detach().clone().to(self._device) for name, tensor in state.items()}

    def _draw(self, *purpose: int | str) -> torch.Generator:
        return torch.Generator().manual_seed(derive(self.seed, 0, *purpose))

    def _tick(self, clock: str) -> tuple[Refresh, ...]:
        self.ticks[clock] += 1
        due = due_refreshes(self.chain, clock, self.ticks[clock])
        for index, each in due:
            self.refreshes[index] += 1
            fresh = self.fresh(*purpose_of(self.chain, index), clock, self.ticks[clock]) if each.needs_fresh else {}
            net = self._net()
            evidence = RefreshContext(fresh, self._features(each, net), self._apply)
            self._write(index, net, *each.refresh(net, self.states[index], evidence, self.layers))
            self._renew_statistics(fresh)
            if each.clears_replay:  # a new agent, whose methods remember nothing either
                for other, method in enumerate(self.chain):
                    self._write(
                        other, self._params_only(), self._params_only(), self._initial_state(other, method, clock, self.ticks[clock])
                    )
        if due:
            self._project()
        return tuple(each for _, each in due)

    def _features(self, each: Refresh, net: Net) -> Params:
        """Units for a refresh; none at a task boundary before the first batch."""
        if not each.needs_layer_graph or (self.batch is None and each.clock == "task"):
            return {}
        return Unseen() if self.batch is None else self._apply(net.params)[1]

    def _renew_statistics(self, fresh: Params) -> None:
        """Running statistics of a new module for units whose incoming weights are now a new module's, except from units that are new, too:
        those are 0."""
        for layer in self.layers if fresh else ():
            new = self.params[layer.weight] == fresh[layer.weight]
            born = new.flatten(1).any(1) & (new | (self.params[layer.weight] == 0)).flatten(1).all(1)
            for name, value in zip(self._graph.statistics.get(layer.name, ()), (0.0, 1.0), strict=False):
                self.module.get_buffer(name).masked_fill_(born, value)

    def _project(self, born: bool = False) -> None:
        for index, each in enumerate(self.chain):
            if each.projects_birth if born else overrides(each, "project"):
                net = self._params_only()
                params, state = each.project(net.params, self.states[index], self.layers)
                self._write(index, net, net._replace(params=params), state)

    def _params_only(self) -> Net:
        return Net(self._values(), {})

    def _write(self, index: int, old: Net, new: Net, state: State) -> None:
        """Write new values into the module's, the optimizer's and the method's own tensors."""
        learned = [name for name, param in self.params.items() if param.requires_grad]
        params = {name: new.params[name].clone() for name in learned if new.params[name] is not old.params[name]}
        state = copied({name: tensor for name, tensor in state.items() if tensor is not self.states[index][name]})
        for name, param in params.items():
            self.params[name].copy_(param)
        for name, tensor in state.items():
            self.states[index][name].copy_(tensor)
        if self._optimizer_state is not None and old.slots:
            self._optimizer_state.write(old.slots, new.slots)
