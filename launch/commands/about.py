"""Commands that list words and methods, and check this machine or a cluster."""

from typing import Annotated

import tyro

from launch.commands.options import DONE, Plugins, allow
from plasticity_rl.checks import UsageError


def show(word: str | None = None, /, *, plugin: Plugins = ()) -> int:
    """List every word for a part of an experiment, by kind; or, for a word, what it is and its settings.

    Args:
        word: one of the words
        plugin: a module with parts of your own
    """
    from launch.config.show import print_all, print_page

    allow(plugin)
    if word is None:
        print_all()
    else:
        print_page(word)
    return DONE


def interventions(word: str | None = None, /, *, markdown: bool = False, plugin: Plugins = ()) -> int:
    """List every method: the hooks it uses, what it needs, its paper and its idea; or one method's page.

    Args:
        word: one of the methods
        markdown: print the table of all methods as Markdown
        plugin: a module with parts of your own
    """
    if word is not None and markdown:
        raise UsageError("--markdown prints all methods; leave the word out")
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
    """Check this machine for what the project needs."""
    from launch.doctor import examine

    return examine()


def cluster_check(
    *,
    address: Annotated[str, tyro.conf.arg(metavar="HOST:PORT")] = "auto",
    open: bool = False,
) -> int:
    """Check a Ray cluster: its resources, whether it asks for a token, and its nodes' versions beside this machine's.

    Args:
        address: address of the cluster; `auto` finds one on this machine
        open: also check a cluster that lets everybody in
    """
    from launch.cluster.check import examine

    return examine(address, open)


def cluster_token() -> int:
    """Make the token of Ray clusters, ~/.ray/auth_token, if there is none, and let nobody else read it."""
    from launch.cluster.check import make_token

    return make_token()
