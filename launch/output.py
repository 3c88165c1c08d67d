"""Standard streams that the caller closed, or whose reader has left."""

import os
import select
import sys
from typing import TextIO


def open_closed() -> None:
    """Lead streams that were closed (`>&-`) to the null device: else the next file opened gets their number, and what is printed."""
    if None not in (sys.stdin, sys.stdout, sys.stderr):
        return
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - they stay open as long as the process
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def reader_left(error: BaseException) -> bool:
    """True if the reader of standard output has left (`| head`). Raised by `print`, or by rich, which ends the process itself."""
    if isinstance(error, SystemExit):
        return isinstance(error.__context__, BrokenPipeError)
    return isinstance(error, BrokenPipeError) and any(map(_is_broken, (sys.stdout, sys.stderr)))


def mute(*streams: TextIO) -> None:
    """Drop output that cannot be written: else the interpreter tries again as it ends, and complains."""
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
