"""Which numbers this machine multiplies fast."""

import torch


def has_fast_bf16() -> bool:
    """Whether bfloat16 has instructions here; emulated it is slower than float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
