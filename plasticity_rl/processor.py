"""CPU model and fast bfloat16, as Linux reports them; little is known on other systems. Imports torch only for a GPU."""

import platform
from functools import cache

FAST_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # bfloat16 multiplication instructions: AMD and Intel, Intel, Arm


@cache
def cpu_info() -> dict[str, str]:
    """Fields of the first processor in /proc/cpuinfo; empty if there is no such file."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            first = lines.read().partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def name() -> str:
    """CPU model, or its architecture if the model is unknown."""
    return cpu_info().get("model name") or platform.machine()


def features() -> frozenset[str]:
    """Instruction sets, by Linux's names."""
    return frozenset((cpu_info().get("flags") or cpu_info().get("Features") or "").split())


def fast_bfloat16(device: str) -> tuple[bool, str]:
    """True if the device has bfloat16 multiplication instructions, and the reason as text.

    Without them bfloat16 is converted to float32 and back, and is slower than float32. The device is "cpu", "cuda", or "auto", a GPU if
    there is one.
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
