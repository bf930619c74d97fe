"""A trained text inverter aimed at another embedder, through a map that is fitted to pairs of vectors."""
