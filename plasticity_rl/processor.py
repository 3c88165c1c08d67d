"""The processor of this machine, as Linux describes it; elsewhere little is known. Imports no torch until a GPU is asked about."""

import platform
from functools import cache

FAST_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # instructions that multiply bfloat16: AMD and Intel, Intel, Arm


@cache
def described() -> dict[str, str]:
    """The lines of /proc/cpuinfo about the first processor; empty where there is no such file."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            first = lines.read().partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def name() -> str:
    """The processor's model, or its architecture where that is all that is known."""
    return described().get("model name") or platform.machine()


def features() -> frozenset[str]:
    """The instruction sets it has, by Linux's names."""
    return frozenset((described().get("flags") or described().get("Features") or "").split())


def fast_bfloat16(device: str) -> tuple[bool, str]:
    """Does a device multiply bfloat16 by instructions of its own, and how is that known? Without them it converts to float32 and back, and
    is slower than in float32. The device is "cpu", "cuda", or "auto", a GPU where there is one.
    """
    if device != "cpu":
        import torch

        if torch.cuda.is_available():
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
            return fast, f"{torch.cuda.get_device_name()} {'multiplies' if fast else 'only emulates'} bfloat16"
        if device != "auto":
            return False, "there is no CUDA device"
    if found := sorted(FAST_BFLOAT16 & features()):
        return True, f"{name()} has {' and '.join(found)}"
    return False, f"{name()} has none of {', '.join(sorted(FAST_BFLOAT16))}"
