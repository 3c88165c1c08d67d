"""CPU and GPU features, and their use: `precision=auto`, a warning, a line of `doctor`."""

import dataclasses
from pathlib import Path

import pytest
import torch

from launch import doctor
from launch.config.parse import experiment
from launch.run import runner
from plasticity_rl import processor
from plasticity_rl.processor import fast_bfloat16

AVX2, AVX512, ZEN4, SAPPHIRE, GRAVITON3 = (
    "avx2",
    "avx2 avx512f avx512vl avx512bw",
    "avx2 avx512f avx512_bf16",
    "avx2 amx_bf16 amx_tile",
    "bf16",
)
FAST = {AVX2: False, AVX512: False, ZEN4: True, SAPPHIRE: True, GRAVITON3: True}


def on(monkeypatch: pytest.MonkeyPatch, flags: str, gpu: bool | None = None) -> None:
    """A machine with these CPU instructions, and a GPU with or without bfloat16 multiplication, or none."""
    monkeypatch.setattr(processor, "cpu_info", lambda: {"model name": "A processor", "flags": flags})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu is not None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A GPU")


@pytest.mark.parametrize("flags", FAST)
def test_a_processor_is_fast_that_has_instructions_for_it(monkeypatch: pytest.MonkeyPatch, flags: str) -> None:
    """AVX-512 alone is not enough, although oneDNN reports bfloat16 support there."""
    on(monkeypatch, flags)
    assert fast_bfloat16("cpu")[0] is fast_bfloat16("auto")[0] is FAST[flags]
    assert fast_bfloat16("cpu")[1].startswith("A processor has ")
    assert not fast_bfloat16("cuda")[0]


def test_a_gpu_is_asked_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, AVX2, gpu=True)
    assert fast_bfloat16("auto") == fast_bfloat16("cuda") == (True, "A GPU multiplies bfloat16") and not fast_bfloat16("cpu")[0]
    on(monkeypatch, ZEN4, gpu=False)
    assert fast_bfloat16("auto") == fast_bfloat16("cuda") == (False, "A GPU only emulates bfloat16") and fast_bfloat16("cpu")[0]


def test_linuxs_description_is_read() -> None:
    if not Path("/proc/cpuinfo").exists():
        assert processor.cpu_info() == {} and processor.features() == frozenset() and processor.name()
    else:
        text = Path("/proc/cpuinfo").read_text()
        assert processor.name() in text and processor.features() <= set(text.split())


@pytest.mark.parametrize("network", ["nature", "impala-cnn", "resnet18", "nature:precision=auto", "nature:norm=layer"])
def test_image_torsos_take_what_the_machine_is_fast_at_and_the_run_is_named_by_it(monkeypatch: pytest.MonkeyPatch, network: str) -> None:
    said = {"benchmark": "atari:games=Pong", "network": network}
    made = {}
    for flags, precision in ((AVX2, "float32"), (ZEN4, "bfloat16")):
        on(monkeypatch, flags)
        made[precision] = experiment(said)
        word, _, rest = network.replace("precision=auto", "").partition(":")
        plain = f"{word}:precision={precision}" + (f",{rest}" if rest else "")
        assert made[precision].network.precision == precision
        assert made[precision] == experiment(said | {"network": plain})  # the same key, from any place
    assert made["float32"].key != made["bfloat16"].key
    on(monkeypatch, AVX2, gpu=True)
    assert experiment(said).network.precision == "bfloat16" and experiment(said, "cpu").network.precision == "float32"


def test_what_is_said_is_kept_and_others_are_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, AVX2)
    assert experiment({"benchmark": "atari:games=Pong", "network": "nature:precision=bfloat16"}).network.precision == "bfloat16"
    on(monkeypatch, ZEN4)
    for network in ("mlp", "transformer"):
        assert experiment({"network": network}).network.precision == "float32"
        assert experiment({"network": f"{network}:precision=auto"}).network.precision == "bfloat16"


def test_slow_precision_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    made = experiment({"network": "mlp:precision=bfloat16"})
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    on(monkeypatch, AVX2)
    with pytest.warns(
        UserWarning, match="^precision=bfloat16 is slower here than float32: A processor has none of amx_bf16, avx512_bf16, bf16$"
    ):
        runner.prepare(made, "cpu")
    runner.prepare(dataclasses.replace(made, network=dataclasses.replace(made.network, precision="float32")), "cpu")
    on(monkeypatch, ZEN4)
    runner.prepare(made, "cpu")


def test_doctor_says_what_the_processor_can(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, ZEN4)
    assert doctor._bfloat16() == "A processor has avx512_bf16: precision=auto takes it on the processor"
    on(monkeypatch, AVX2)
    with pytest.raises(RuntimeError, match="slower than float32 on the processor, where precision=auto takes float32"):
        doctor._bfloat16()
