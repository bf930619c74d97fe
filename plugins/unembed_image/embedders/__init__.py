"""Image models as black boxes."""
