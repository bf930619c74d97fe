"""The modules of kernels for CUDA devices, each None without Triton, which comes with the CUDA builds of torch."""

try:
    from unembed_text import fused, fused_decoding, fused_linear
except ImportError:
    fused = fused_decoding = fused_linear = None  # type: ignore[assignment]

__all__ = ["fused", "fused_decoding", "fused_linear"]
