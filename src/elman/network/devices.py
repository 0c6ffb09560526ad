"""Where the network computes: what devices there are, and how a batch gets there without anybody waiting."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from elman.errors import UsageError

MOST_THREADS_UNASKED = 16
"""The steps of the recurrence are small products one after the other, and every one of them ends with all threads."""

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def default_threads() -> int:
    """Return how many threads compute unless the user says: one a processor that this process may use, 16 at the most.

    In a container no more than its quota allows: others would be stopped in turns, while the rest waits for them.
    """
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        count = os.cpu_count() or 1
    return min(count, _quota() or count, MOST_THREADS_UNASKED)


def _quota() -> int | None:
    """Return how many processors Linux lets this container keep busy, at least one; None for no limit."""
    try:
        quota, period = CPU_QUOTA.read_text(encoding="ascii").split()
        return None if quota == "max" else max(1, round(int(quota) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        return None


def check_device(name: str) -> None:
    """Refuse a device that this machine does not have: all but cpu, cuda and cuda:0 .. cuda:n-1.

    Raises
    ------
    UsageError
        if it is not there.
    """
    if name == "cpu":
        return
    kind, _, number = name.partition(":")
    count = torch.cuda.device_count() if kind == "cuda" and torch.cuda.is_available() else 0
    if not (number or "0").isdecimal() or int(number or 0) >= count:
        others = f", or choose one of cuda:0 .. cuda:{count - 1}" if count else ""
        raise UsageError(f"there is no device {name}", hint=f"leave --device at cpu{others}")


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the CPU on a device; a copy to a GPU is queued, without waiting for what is at work there."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def bf16_is_fast(device: str = "cpu") -> bool:
    """Return whether a device multiplies bf16 in hardware."""
    if device != "cpu":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return bool(supported and supported()) and "bf16" in _processor_flags()


def int8_is_fast(device: str = "cpu") -> bool:
    """Return whether a device is a processor that multiplies 8-bit integers four at a time."""
    flags = _processor_flags()
    return device == "cpu" and ("avx512_vnni" in flags or "amx_int8" in flags)


def _processor_flags() -> str:
    """Return what Linux says of the processor; nothing elsewhere."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.exists() else ""
