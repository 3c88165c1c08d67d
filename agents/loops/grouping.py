"""Experiments that can be trained as one: they differ in seed, members, schedule, and numbers of the optimizer and the chain alone."""

from collections.abc import Hashable, Sequence
from dataclasses import fields

import torch

from plasticity_rl.experiment import Experiment
from plasticity_rl.interventions import assemble
from plasticity_rl.networks.network import Network
from plasticity_rl.records.events import Snapshot
from plasticity_rl.training.cells import Cell, shape

OWN = ("seed", "members", "schedule", "network", "optimizer", "chain")
"""fields of an experiment in which those trained as one may differ; of the last three, see `group_key`"""


def cell(experiment: Experiment) -> tuple[Network, Cell]:
    """The network and what else a learner takes of an experiment. Raises UsageError where its parts do not fit."""
    inputs, ends = experiment.benchmark.inputs, experiment.agent.heads(experiment.benchmark)
    network, optimizer = assemble(experiment.network, experiment.optimizer, experiment.chain, inputs, ends)
    return network, Cell(optimizer, experiment.chain, experiment.members, experiment.seed)


def group_key(experiment: Experiment) -> Hashable:
    """Equal for experiments that can be trained as one. None where the agent only trains one."""
    if not experiment.agent.trains_groups:
        return None
    network, own = cell(experiment)
    shared = tuple(getattr(experiment, field.name) for field in fields(experiment) if field.name not in OWN)
    return network.spec, tuple(shape(part) for part in (own.optimizer, *own.chain)), shared


def joined(snapshots: Sequence[Snapshot]) -> Snapshot:
    """The snapshot of a learner whose cells' snapshots, all taken after the same update, these are."""
    tensors = {name: torch.cat([each.tensors[name] for each in snapshots]) for name in snapshots[0].tensors}
    return Snapshot(tensors, snapshots[0].counters)
