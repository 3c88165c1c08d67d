"""Standard streams that the caller closed, or whose reader has gone."""

import os
import select
import sys
from typing import TextIO


def open_closed() -> None:
    """Redirect closed streams (`>&-`) to the null device: otherwise the next file opened gets their descriptor, and their output."""
    if None not in (sys.stdin, sys.stdout, sys.stderr):
        return
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - open until the process exits
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def reader_left(error: BaseException) -> bool:
    """True if the error means that standard output has lost its reader (`| head`). Raised by `print`, or by rich, which exits itself."""
    if isinstance(error, SystemExit):
        return isinstance(error.__context__, BrokenPipeError)
    return isinstance(error, BrokenPipeError) and any(map(_is_broken, (sys.stdout, sys.stderr)))


def mute(*streams: TextIO) -> None:
    """Drop output that cannot be written: otherwise the interpreter tries again at exit, and reports an error."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(null, stream.fileno())
    os.close(null)


def _is_broken(stream: TextIO) -> bool:
    """True if a pipe has lost its reader; False for a stream without a file."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
    except OSError:
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))
