"""Groups of experiments trained as one learner: they may differ in seed, members, schedule, and float fields of optimizer and chain."""

from collections.abc import Hashable, Sequence
from dataclasses import fields

import torch

from plasticity_rl.experiment import Experiment
from plasticity_rl.interventions import assemble
from plasticity_rl.networks.network import Network
from plasticity_rl.records.events import Snapshot
from plasticity_rl.training.cells import Cell, shape

OWN = ("seed", "members", "schedule", "network", "optimizer", "chain")
"""experiment fields that may differ within a group; the last three only as `group_key` allows"""


def cell(experiment: Experiment) -> tuple[Network, Cell]:
    """Network and learner Cell of an experiment. Raises UsageError if its parts do not fit together."""
    inputs, ends = experiment.benchmark.inputs, experiment.agent.heads(experiment.benchmark)
    network, optimizer = assemble(experiment.network, experiment.optimizer, experiment.chain, inputs, ends)
    return network, Cell(optimizer, experiment.chain, experiment.members, experiment.seed)


def group_key(experiment: Experiment) -> Hashable:
    """Key that is equal for experiments that can be trained as one learner; None if the agent does not train groups."""
    if not experiment.agent.trains_groups:
        return None
    network, own = cell(experiment)
    shared = tuple(getattr(experiment, field.name) for field in fields(experiment) if field.name not in OWN)
    return network.spec, tuple(network.own.items()), tuple(shape(part) for part in (own.optimizer, *own.chain)), shared


def joined(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Join the snapshots of a learner's cells, taken after the same update, into the learner's snapshot."""
    tensors = {name: torch.cat([each.tensors[name] for each in snapshots]) for name in snapshots[0].tensors}
    return Snapshot(tensors, snapshots[0].counters)
