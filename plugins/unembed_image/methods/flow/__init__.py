"""A denoiser, steered by a surrogate of the black box."""
