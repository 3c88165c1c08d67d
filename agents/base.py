"""The contract between agents and the code that trains, runs, probes and sizes them.

An agent is a frozen dataclass of hyperparameters that inherits one of the protocols below; a loop, a remote worker or a diagnostic reads
nothing else of it. S is the number of members, T steps, B environments, n examples; "ONE network" marks functions that are lifted over
members. Capabilities are class variables with defaults: an agent states only what differs.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, cast, final

from torch import Tensor

from agents.data.rewards import Rewards
from envs.reinforcement.backends.spaces import Discrete, Space
from envs.reinforcement.base import ReinforcementBenchmark
from envs.supervised.base import Tasks
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment, word
from plasticity_rl.networks.layers import HeadSpec, Params
from plasticity_rl.networks.network import Network
from plasticity_rl.records.events import Event, Snapshot


class Draw(NamedTuple):
    """Random numbers that an update takes."""

    kind: Literal["uniform", "normal"]
    purpose: str
    """name of their stream"""
    shape: tuple[int, ...]
    """for one member"""


Reported = tuple[int, Event | FloatingPointError]
"""position of an experiment in its group, and an event of it"""
Rollout = dict[str, Tensor]
"""T steps of S members x B environments, (T, S, B) each: `rewards`, `discounts` and `continues` as in `agents.data.returns`, `real` (0
where the environment ignored the action), and all outputs of `act`, `actions` among them; `values` have one step more, (T + 1, S, B)"""


class Agent(Protocol):
    """Interface of every agent."""

    supervision: ClassVar[str]
    """`labels` or `rewards`: what it learns from; must equal the benchmark's"""
    batch_size: int
    """examples of one update, per member"""
    separable: ClassVar[bool]
    """True if the loss is a mean over examples, each with its own rows of the batch, so that each example has a gradient"""

    tolerates_lag: ClassVar[bool] = False
    """can learn from experience of weights of any age, as from free-running actors"""
    trains_groups: ClassVar[bool] = False
    """`train_group` trains several experiments as one learner"""
    has_replay: ClassVar[bool] = False
    """is a ReplayAgent, whose replay is part of a checkpoint"""

    @abstractmethod
    def fit(self, experiment: Experiment) -> None:
        """Raise UsageError if the agent cannot learn the experiment's benchmark, with its network, chain and actors."""

    @abstractmethod
    def loss(self, *args: Any, **kwargs: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of ONE network, from (network, params, batch, ...), and numbers to report."""

    @abstractmethod
    def decode_outputs(self, outputs: Tensor, num_actions: Tensor | None = None) -> dict[str, Tensor]:
        """Outputs of ONE network for n inputs, (n, outputs), by meaning: `logits` (n, choices), or the action values that stand for them;
        or `means` (n, numbers) of a continuous policy, with its `log_stds` where it has them; and from agents that act, `values` (n,) of
        the inputs as states. `num_actions` () as in `ActingAgent.act`."""

    def measure_constants(self, params: Params) -> dict[str, Tensor]:
        """Metrics of ONE network's parameters that no layer has, by name."""
        return {}

    @abstractmethod
    def train(self, experiment: Experiment, device: str, compile: bool, resume: Snapshot | None) -> Iterator[Event]:
        """Events of the run, in order. Raises FloatingPointError if a loss is not finite."""


class StreamAgent(Agent, Protocol):
    """Interface of an agent that learns from a stream of labelled batches."""

    record_every: int
    """updates between two rows of scores"""

    @abstractmethod
    def heads(self, benchmark: Tasks) -> HeadSpec | int:
        """Heads of the network, or the number of its outputs if there is one head."""

    @abstractmethod
    def loss(self, network: Network, params: Params, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of ONE network on `inputs` (batch, *shape) and `labels` (batch,), and what to report: `measured`, the mean of `measure`."""

    @abstractmethod
    def measure(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Accuracy or error per example, (n,), of outputs (n, outputs)."""

    @abstractmethod
    def score(self, measured: Tensor, variance: Tensor) -> Tensor:
        """Score (S,) from mean `measured` (S,) and the variance of the task's labels (S,)."""

    @abstractmethod
    def train_group(
        self, experiments: Sequence[Experiment], device: str, compile: bool, resumes: Sequence[Snapshot] | None
    ) -> Iterator[Reported]:
        """Events of experiments with one `grouping.group_key`, trained as one learner and resumed from the same update.

        A FloatingPointError, at the first row whose loss is not finite, ends the events of its experiment; the others go on.
        """


class ActingAgent(Agent, Protocol):
    """Interface of an agent that acts in environments."""

    num_envs: int
    """environments per member"""
    rollout_length: int
    """steps of each environment between two weights of a remote actor"""
    discount: float
    rewards: Rewards
    samples: ClassVar[bool]
    """True if actions are sampled from `logits`, False if the largest is taken"""

    reward_divisor: float = 1.0
    """divisor of rewards before learning, after their transformation"""
    evaluation_epsilon: float = 0.0
    """probability of a random action in evaluations"""
    num_pools: int = 1
    """pools that the environments are divided into, without remote actors"""
    acts_in: ClassVar[tuple[type[Space], ...]] = (Discrete,)
    """kinds of action spaces that it can act in"""
    reads_images: ClassVar[bool] = True
    """can learn from observations that are no vectors"""
    evaluates_mean: ClassVar[bool] = False
    """True if evaluations play the mean of a continuous policy, not actions drawn from it"""
    prioritised: bool = False
    """`act` also returns `outputs`, from which `first_errors` makes the priorities of new steps"""

    @abstractmethod
    def heads(self, benchmark: ReinforcementBenchmark) -> HeadSpec:
        """Heads of the network."""

    @abstractmethod
    def act(self, network: Network, params: Params, observations: Tensor, drawn: dict[str, Tensor], shared: dict[str, Tensor]) -> Params:
        """Outputs of ONE network for observations (B, ...): `actions` (B,), or (B, numbers) within [-1, 1] where the space is a Box, and
        values that learning needs later, (B, ...) each.

        `drawn["uniform"]` in [0, 1) and `drawn["normal"]`, (B, `draws`) each, `drawn["noise"]` (B, numbers) for noisy layers; `shared` has
        `epsilon` and `task` (), and where tasks differ in it `num_actions` (): only the first so many actions exist. A batch of the loss
        has it, too.
        """

    def judge(self, network: Network, params: Params, observations: Tensor, acted: Params, shared: dict[str, Tensor]) -> Tensor:
        """Values (B,) by ONE network of the observations (B, ...) in which `acted`, the outputs of `act`, are played."""
        outputs = network.apply(params, observations, task=shared["task"])[0]
        return self.decode_outputs(outputs, shared.get("num_actions"))["values"]

    def draws(self, space: Space) -> dict[str, int]:
        """Random numbers of each kind, `uniform` and `normal`, per decision in a space of actions: two for an epsilon-greedy one."""
        assert isinstance(space, Discrete), space
        return {"uniform": space.n if self.samples else 2}

    def epsilon(self, progress: float) -> float:
        """Probability of a random action at `progress` of a visit, in [0, 1]."""
        return 0.0


class ReplayAgent(ActingAgent, Protocol):
    """Interface of an agent that learns from replay with a target network: see agents.dqn and agents.sac for the fields."""

    has_replay: ClassVar[bool] = True
    train_every: int
    updates_per_step: int = 1
    age_decay: int | None = None
    age_floor: float = 0.1
    replay: int
    min_replay: int
    replay_at_switch: Literal["clear", "keep"]
    target_every: int
    tau: float = 1.0
    """share of the network in its target after a step of it; 1 copies it"""
    policy_every: int = 1
    """updates between two of the network `actor`, which other updates leave as it is"""
    n_step: int
    priority_exponent: float = 0.0
    importance_exponent: float = 1.0
    uniform: float = 1.0

    def loss_draws(self, network: Network, space: Space) -> dict[str, Draw]:
        """Random numbers of an update, which the loss finds in its batch by name."""
        return {}

    @final
    def fit(self, experiment: Experiment) -> None:
        """Raise UsageError if a visit is too short to fill the replay and learn, or benchmark, network or actors do not suit."""
        benchmark = cast(ReinforcementBenchmark, experiment.benchmark)
        refuse_space(self, benchmark)
        refuse_visits(self.num_envs, benchmark)
        for visit in benchmark.visits():
            if visit.budget // benchmark.frame_skip <= self.min_replay + self.train_every:
                raise UsageError(f"a visit of {visit.budget} frames is too short to learn: min_replay takes {self.min_replay} steps")
        refuse_actors(self, experiment)
        refuse_untold(experiment)

    @final
    def check_replay(self) -> None:
        """Raise UsageError if fields of the replay exclude one another; call from `__post_init__`."""
        name = type(self).__name__
        room = (self.replay // self.num_envs - 1) * self.num_envs  # the newest step of each environment has no outcome yet
        if self.min_replay > room:
            raise UsageError(f"{name}: min_replay must be at most {max(room, 0)} with replay={self.replay}, not {self.min_replay}")
        if self.updates_per_step > 1 < self.train_every:
            raise UsageError(
                f"{name}: updates_per_step={self.updates_per_step} means several updates a step, and train_every={self.train_every} "
                "several steps an update; set train_every=1, or leave updates_per_step at 1"
            )

    @abstractmethod
    def loss(self, network: Network, params: Params, batch: dict[str, Tensor], target: Params) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of ONE network on a batch of `Replay.sample`, and what is reported: of a prioritised agent `errors` (batch,), the losses per
        transition. Where critics read actions, `states` and `next_states` are the observations alone."""


class PrioritisedAgent(ReplayAgent, Protocol):
    """Interface of an agent that may replay transitions by their errors."""

    @abstractmethod
    def first_errors(
        self, outputs: Tensor, actions: Tensor, rewards: Tensor, step_types: Tensor, num_actions: Tensor | None = None
    ) -> Tensor:
        """Losses (T, B) of the steps of ONE network's rollout, by its own outputs (T + 1, B, ...) as it played; `num_actions` ()."""


class RolloutAgent(ActingAgent, Protocol):
    """Interface of an agent that learns from complete rollouts, then discards them."""

    epochs: int
    """passes over a rollout"""
    minibatches: int
    """updates per pass"""
    queued: ClassVar[bool]
    """learns from a rollout while the next is played, with whole rollouts of some environments as batches; otherwise in between, from steps
    in random order"""

    @property
    def batch_size(self) -> int:  # type: ignore[override]
        """Observations of one update, per member: a queued agent also reads the one after the last step."""
        return (self.rollout_length + self.queued) * self.num_envs // self.minibatches

    @abstractmethod
    def prepare(self, rollout: Rollout) -> Rollout:
        """Learning targets from a rollout: the tensors of a batch of the loss, except `inputs` and `task`."""

    @abstractmethod
    def loss(self, network: Network, params: Params, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of ONE network on a batch, and what is reported."""

    @final
    def fit(self, experiment: Experiment) -> None:
        """Raise UsageError if a visit is too short for a rollout, or the network or the actors do not suit."""
        benchmark = cast(ReinforcementBenchmark, experiment.benchmark)
        refuse_space(self, benchmark)
        frames = refuse_visits(self.num_envs, benchmark) * self.rollout_length
        for visit in experiment.benchmark.visits():
            if visit.budget < frames:
                raise UsageError(f"a visit of {visit.budget} frames is too short to learn: a rollout takes {frames}")
        refuse_actors(self, experiment)
        refuse_untold(experiment)


def linear_epsilon(progress: float, fraction: float, final: float) -> float:
    """Epsilon that falls linearly from 1 to `final` over the first `fraction` of a visit."""
    gone = min(progress / fraction, 1.0) if fraction else 1.0
    return 1 - (1 - final) * gone


def head_copies(benchmark: ReinforcementBenchmark) -> int:
    """Copies of each head: one per task, or one that all tasks share."""
    return len(benchmark.names) if benchmark.heads == "per-task" else 1


def refuse_space(agent: ActingAgent, benchmark: ReinforcementBenchmark) -> None:
    """Raise UsageError if the agent cannot act in the benchmark's space of actions, or read its observations."""
    space, name, where = benchmark.action_space, type(agent).__name__, type(benchmark).__name__
    if isinstance(space, Discrete) and Discrete not in agent.acts_in:
        raise UsageError(f"{name} plays vectors, and {where} has {space.n} actions to choose from: take dqn, pqn, ppo or impala")
    if not isinstance(space, agent.acts_in):
        raise UsageError(
            f"{name} chooses one of n actions, and {where} takes vectors of length {space.size}: take sac, td3 or ppo:policy=gaussian"
        )
    if len(benchmark.inputs) > 1 and not agent.reads_images:
        shape = " x ".join(map(str, benchmark.inputs))
        raise UsageError(f"{name} learns from vectors, and observations of {where} are {shape}: take ppo:policy=gaussian")


def refuse_visits(num_envs: int, benchmark: ReinforcementBenchmark) -> int:
    """Raise UsageError if a visit is not a whole number of pool steps; return the frames of one."""
    whole = benchmark.frame_skip * num_envs
    for visit in benchmark.visits():
        if visit.budget % whole:
            near = max(round(visit.budget / whole), 1) * whole
            raise UsageError(f"visits of {visit.budget} frames are not a multiple of {whole}, a step of {num_envs} environments; {near} is")
    return whole


def told(experiment: Experiment) -> bool:
    """True if task changes are told to the agent: by the benchmark, or because its chain starts over, as a control's does."""
    return all(visit.told for visit in experiment.benchmark.visits()) or any(each.starts_over for each in experiment.chain)


def refuse_untold(experiment: Experiment) -> None:
    """Raise UsageError if a method waits for task changes of which the agent is not told."""
    waiting = [] if told(experiment) else [each for each in experiment.chain if getattr(each, "clock", None) == "task"]
    if waiting:
        raise UsageError(
            f"{word(waiting[0])} refreshes at task changes, which {type(experiment.benchmark).__name__} does not report to the learner: "
            "use clock=update with every, or told=true"
        )


def refuse_shapes(agent: RolloutAgent, things: int, what: str) -> None:
    """Raise UsageError if pools or minibatches would differ in size."""
    name = type(agent).__name__
    if agent.num_envs % agent.num_pools:
        raise UsageError(f"{name}: {agent.num_envs} environments cannot be shared equally by {agent.num_pools} pools")
    if things % agent.minibatches:
        raise UsageError(f"{name}: {things} {what} cannot be shared equally by {agent.minibatches} minibatches")


def batch_norms(experiment: Experiment) -> list[str]:
    """Norms of the network, its own or its chain's, that make outputs depend on the batch."""
    norms: set[Any] = {getattr(experiment.network, "norm", None), *(each.build().get("norm") for each in experiment.chain)}
    return sorted(norms & {"batch", "batch-mean"})


def refuse_actors(agent: ActingAgent, experiment: Experiment) -> None:
    """Raise UsageError if acting does not suit the network, or remote actors the agent."""
    name = type(agent).__name__
    if experiment.actors:
        if agent.num_envs % experiment.actors:
            raise UsageError(f"{name}: {agent.num_envs} environments cannot be shared equally by {experiment.actors} actors")
        if experiment.free_running and not agent.tolerates_lag:
            raise UsageError(f"{name} does not correct for the lag of its actors: free_running is for dqn, sac, td3 and impala")
        if agent.num_pools > 1:
            raise UsageError(f"{name}: pools divide the environments of the learner's own process; with actors, num_pools must be 1")
    if norms := batch_norms(experiment):
        raise UsageError(
            f"{name} acts on other batches than it learns from, and with norm={norms[0]} outputs depend on the batch; take layer or rms"
        )
