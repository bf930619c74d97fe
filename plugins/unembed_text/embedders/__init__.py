"""Text embedders as black boxes."""
