"""Kernels for CUDA devices by subject, each None without Triton, which comes with the CUDA builds of torch."""

try:
    from unembed_text.kernels import attention, cached_attention, linear, vocabulary
except ImportError:
    attention = cached_attention = linear = vocabulary = None  # type: ignore[assignment]

__all__ = ["attention", "cached_attention", "linear", "vocabulary"]
