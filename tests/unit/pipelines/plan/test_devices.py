"""What devices a node makes, and what they are called."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.errors import UserError
from pipelines.plan.devices import Device, Node, check_types, chip_name, devices_of, precision_of

NODE = Node("n1", cpus=4, gpus=0, memory=4000, cpu="AMD EPYC 9654", bfloat16=True)
CPUINFO = "processor\t: 0\nmodel name\t: Intel(R) Xeon(R)  Gold 6130 CPU @ 2.10GHz\nflags\t\t: fpu avx2\n"


def facts(devices: list[Device]) -> list[tuple[str, float, int, int]]:
    return [(device.type, device.cpus, device.gpus, device.memory) for device in devices]


def test_a_node_without_gpus_is_cut_into_slices_of_its_cpus() -> None:
    assert facts(devices_of(NODE, 2)) == [("cpu-amd-epyc-9654-2t", 2, 0, 2000)] * 2
    assert facts(devices_of(NODE, 3)) == [("cpu-amd-epyc-9654-3t", 3, 0, 4000)]
    assert facts(devices_of(NODE, 0.5)) == [("cpu-amd-epyc-9654-1t", 0.5, 0, 500)] * 8
    assert devices_of(NODE, 5) == []


def test_every_gpu_takes_a_slice_and_the_others_are_devices_of_their_own() -> None:
    node = replace(NODE, gpus=2, gpu="NVIDIA H100 80GB HBM3", gpu_memory=80_000)
    assert facts(devices_of(node, 1)) == [
        ("gpu-nvidia-h100-80gb-hbm3", 1, 1, 80_000),
        ("gpu-nvidia-h100-80gb-hbm3", 1, 1, 80_000),
        ("cpu-amd-epyc-9654-1t", 1, 0, 1000),
        ("cpu-amd-epyc-9654-1t", 1, 0, 1000),
    ]


def test_a_gpu_that_is_not_there_computes_on_the_cpu_and_says_so() -> None:
    gpu, _ = devices_of(replace(NODE, gpus=1, accelerator="H100"), 2)
    assert (gpu.type, gpu.kind, gpu.logical, gpu.memory) == ("gpu-h100-2t", "gpu", True, 2000)
    assert str(gpu) == "AMD EPYC 9654, 2 threads, computed on the CPU"


def test_the_owner_names_the_gpus_or_else_the_cpus() -> None:
    assert [device.type for device in devices_of(replace(NODE, label="old"), 4)] == ["old"]
    assert [device.type for device in devices_of(replace(NODE, label="old", gpus=1), 2)] == ["old", "old-cpu"]


def test_a_slowed_device_is_of_another_type() -> None:
    (device,) = devices_of(replace(NODE, slowdown=2.5), 4)
    assert (device.type, str(device)) == ("cpu-amd-epyc-9654-4t-slowed-2.5", "AMD EPYC 9654, 4 threads, slowed 2.5x")


def test_one_name_for_unlike_devices_is_refused() -> None:
    devices = [*devices_of(replace(NODE, label="mine"), 4), *devices_of(replace(NODE, label="mine", cpu="Xeon"), 4)]
    check_types(devices[:1] * 2)
    with pytest.raises(UserError, match=r"motley.device=mine have unlike devices: AMD EPYC 9654, 4 threads .*and Xeon"):
        check_types(devices)


def test_bfloat16_is_for_chips_that_have_it() -> None:
    (old,) = devices_of(replace(NODE, bfloat16=False), 4)
    (new,) = devices_of(NODE, 4)
    assert (precision_of(old, "bfloat16"), precision_of(new, "bfloat16")) == ("float32", "bfloat16")
    assert precision_of(old, "float16") == "float16"


def test_the_chip_has_the_name_that_the_system_tells() -> None:
    assert chip_name(CPUINFO, "x86_64") == "Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz"
    assert chip_name("processor : 0\nBogoMIPS : 50\n", "aarch64") == "aarch64"
    node = replace(NODE, cpu=chip_name(CPUINFO, ""))
    assert devices_of(node, 4)[0].type == "cpu-intel-xeon-gold-6130-4t"
