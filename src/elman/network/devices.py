"""Where the network computes: what devices there are, and how a batch gets there without anybody waiting."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from elman.errors import UsageError


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
    flags = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        flags = cpuinfo.read_text(encoding="utf-8", errors="replace")
    return bool(supported and supported()) and ("avx512_bf16" in flags or "amx_bf16" in flags or "bf16" in flags)
