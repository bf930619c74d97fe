"""The modules of kernels for CUDA devices, each None without Triton, which comes with the CUDA builds of torch."""

try:
    from unembed_text.kernels import attention as fused
    from unembed_text.kernels import decoding as fused_decoding
    from unembed_text.kernels import linear as fused_linear
except ImportError:
    fused = fused_decoding = fused_linear = None  # type: ignore[assignment]

__all__ = ["fused", "fused_decoding", "fused_linear"]
