"""Many vectors: which and in which order, in blocks that engines invert, and the parts that keep their rows."""
