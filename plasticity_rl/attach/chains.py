"""Chains in words or made."""

from collections.abc import Iterable

from plasticity_rl import words
from plasticity_rl.checks import UsageError
from plasticity_rl.interventions.base import Intervention
from plasticity_rl.interventions.chain import Chain


def chain_of(methods: Iterable[str | Intervention]) -> Chain:
    """A chain of methods, each in words such as "redo:tau=0.1" or made. Raises UsageError, naming the nearest word."""
    if isinstance(methods, str) or not isinstance(methods, Iterable):
        raise UsageError(f"a chain is a tuple of methods, also of a single one: ({methods!r},)")
    return tuple(words.part("method", each) if isinstance(each, str) else each for each in methods)
