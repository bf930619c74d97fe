"""Language models as black boxes."""
