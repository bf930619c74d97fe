"""unembed recovers what was embedded: from a vector and query access to its model, back to the input."""

__version__ = "0.1.0"
