"""The verdict in words, the layers that stand out, and what to try first.

*Fits as well as fresh* is non-inferiority: the whole interval of the trainability ratio lies above FITS. *Cannot fit*: it lies below.
Otherwise it is undecided. *Does not explore*: a policy's entropy is below EXPLORES of its twins'. The margins are those of reports
(docs/report.md, Policies). The advice is this project's and follows from what was measured; it promises nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from plasticity_rl.checkup.measures import MEASURES, WHOLE, Compared
from plasticity_rl.checkup.trainability import LEARNABLE, Learned
from plasticity_rl.margins import EXPLORES, FITS
from plasticity_rl.networks.layers import Layers

SHOWN = 3
"""numbers of a layer in the reading"""

CLASSES = {"redo": "ReDo", "shrink-and-perturb": "ShrinkAndPerturb", "reset": "Reset"}
"""word of a method that is advised -> its class"""
ONCE = ("shrink-and-perturb", "reset")
"""methods that act once, where they are told that the task changes"""

Word = Literal[
    "fits as well as fresh", "cannot fit", "fits, but does not explore", "cannot fit and does not explore", "undecided", "not known"
]


@dataclass(frozen=True)
class Verdict:
    word: Word
    reading: str
    """the verdict in one or two sentences"""
    layers: tuple[str, ...]
    """layers that stand out, most numbers first"""
    first: str
    """what to try first, and why"""
    method: str
    """the method in words, such as `redo:tau=0.1`; empty if there is nothing to attach"""
    lines: tuple[str, ...]
    """the lines of code that attach it"""


def decide(random: Learned, own: Learned | None, found: Sequence[Compared], layers: Layers, policy: bool) -> Verdict:
    """The verdict from what was learned of random functions, and of the person's own targets; both must hold their own."""
    tasks = {"random functions": random} | ({"your targets": own} if own else {})
    known = {what: each for what, each in tasks.items() if each.fresh_share >= LEARNABLE}
    sides = {what: each.final.side(FITS) for what, each in known.items()}
    still = policy and _share(found) < EXPLORES
    stuck = [what for what, side in sides.items() if side < 0]
    out = [each for each in found if each.stands_out]
    named = sorted(dict.fromkeys(each.layer for each in out if each.layer), key=lambda layer: -sum(each.layer == layer for each in out))
    word: Word
    if not known:
        word = "not known"
    elif stuck:
        word = "cannot fit and does not explore" if still else "cannot fit"
    elif not all(side > 0 for side in sides.values()):
        word = "undecided"
    else:
        word = "fits, but does not explore" if still else "fits as well as fresh"
    told = [f"on {what} it learns {each.final} of what newly initialised twins learn" for what, each in known.items()]
    told += [
        f"twins learn only {each.fresh_share:.2f} of {what} in {each.updates} updates, too little to compare with: give more updates"
        for what, each in tasks.items()
        if what not in known
    ]
    slow = [f"it learns them more slowly, {each.area} over all updates" for each in known.values() if each.area.side(FITS) < 0]
    if word in ("fits as well as fresh", "fits, but does not explore"):
        told += slow[:1]
    if word == "undecided" and still:
        told.append("undecided whether it can fit, and it does not explore")
    if still:
        told.append(f"its entropy is {_share(found):.2g} of theirs, below {EXPLORES:g}")
    reading = f"{word}: {'; '.join(told)} (margin {FITS:g})"
    for layer in (*named, WHOLE):
        if told := [_told(each) for each in out if each.layer == layer][:SHOWN]:
            reading += f". {f'Layer {layer}' if layer else 'The whole network'} stands out: {', '.join(told)}"
    first, method = _advice(word, still, out, layers)
    return Verdict(word, reading + ".", tuple(named), first, method, attached(method))


def _share(found: Sequence[Compared]) -> float:
    """Entropy over the twins'."""
    return next(each.own / each.fresh if each.fresh else 1.0 for each in found if each.name == "policy_entropy")


def _told(each: Compared) -> str:
    return f"{MEASURES[each.name].title} {each.own:.2g} (twins {each.fresh:.2g})"


def _advice(word: Word, still: bool, out: Sequence[Compared], layers: Layers) -> tuple[str, str]:
    """Advice in a sentence, with its reason, and the method in words."""
    if word in ("cannot fit", "cannot fit and does not explore"):
        recycled = {layer.name for layer in layers if layer.activation not in (None, "tanh", "sigmoid") and not layer.shared}
        if any(each.name in ("dormant_fraction", "dead_fraction") and each.layer in recycled for each in out):
            return "ReDo re-initialises units that hardly respond, and leaves what the network computes almost as it is", "redo:tau=0.1"
        growth = max((each.own / each.fresh for each in out if each.name == "weight_norm" and each.fresh), default=1.0)
        shrink = min(0.5, float(f"{1 / growth:.1g}"))
        why = f"shrink-and-perturb, once: {shrink:g} of all weights and half of a new network's"
        why += f", since weights have grown {growth:.2g}-fold" if growth > 1 else ", since no layer has dormant units to recycle"
        return f"{why}; scores fall before they rise", f"shrink-and-perturb:shrink={shrink:g}"
    if still:
        why = "its policy draws one action for ever: raise the entropy coefficient, and start the policy's head anew, once"
        return why, "reset:part=heads"
    if word == "fits as well as fresh":
        return "nothing against loss of plasticity; look at exploration, learning rate, rewards and data", ""
    if word == "not known":
        return "more updates or a higher learning rate: twins learn too little to compare with", ""
    return "more pairs, which narrow the interval", ""


def attached(method: str) -> tuple[str, ...]:
    """The lines of code that attach a method to a module and its optimizer; none without a method."""
    if not method:
        return ()
    word, _, settings = method.partition(":")
    name, value = settings.split("=")
    made = f"{CLASSES[word]}({name}={value if value[0].isdigit() else repr(value)})"
    return (
        f"from plasticity_rl.interventions import {CLASSES[word]}; from plasticity_rl.attach import attach",
        f"plan = attach(module, optimizer, ({made},), inputs)",
        "plan.task_boundary()  # once, now" if word in ONCE else "plan.after_step()  # after every optimizer.step()",
    )
