"""Commands that list words and methods, and check this machine or a cluster."""

from typing import Annotated

import tyro

from launch.commands.options import DONE, Plugins, allow
from plasticity_rl.checks import UsageError


def show(
    word: Annotated[str | None, tyro.conf.arg(metavar="[WORD]", help_behavior_hint="(default: list all)")] = None,
    /,
    *,
    plugin: Plugins = (),
) -> int:
    """List all words for parts of an experiment, by kind; or describe one word and its settings.

    Args:
        word: word to describe
        plugin: a module with parts of your own
    """
    from launch.config.show import print_all, print_page

    allow(plugin)
    if word is None:
        print_all()
    else:
        print_page(word)
    return DONE


def interventions(
    word: Annotated[str | None, tyro.conf.arg(metavar="[WORD]", help_behavior_hint="(default: list all)")] = None,
    /,
    *,
    markdown: bool = False,
    plugin: Plugins = (),
) -> int:
    """List all methods with their hooks, needs, papers and ideas; or print the page of one method.

    Args:
        word: method to describe
        markdown: print the table of all methods as Markdown
        plugin: a module with parts of your own
    """
    if word is not None and markdown:
        raise UsageError("--markdown prints all methods; omit the method")
    from launch.config.methods import print_all, print_markdown, print_page

    allow(plugin)
    if word is not None:
        print_page(word)
    elif markdown:
        print_markdown()
    else:
        print_all()
    return DONE


def doctor() -> int:
    """Check that this machine has what the project needs."""
    from launch.doctor import examine

    return examine()


def cluster_check(
    *,
    address: Annotated[str, tyro.conf.arg(metavar="HOST:PORT")] = "auto",
    open: bool = False,
) -> int:
    """Check a Ray cluster: its resources, whether it requires a token, and whether its nodes' versions are this machine's.

    Args:
        address: address of the cluster; `auto` finds one on this machine
        open: also check a cluster without a token
    """
    from launch.cluster.check import examine

    return examine(address, open)


def cluster_token() -> int:
    """Create the token of Ray clusters, ~/.ray/auth_token, if it is missing; only its owner can read it."""
    from launch.cluster.check import make_token

    return make_token()
