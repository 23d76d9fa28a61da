"""Which numbers this machine multiplies fast."""

import torch


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 has instructions on a device; emulated it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    is_cpu = device.type == "cpu"
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return bool(is_cpu and fast)
