"""Which embedder made these vectors: signatures, embedding again, trial inversions."""
