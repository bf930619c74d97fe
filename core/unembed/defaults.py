"""The defaults of an inversion, written once for the library, the command line and the docs."""

EFFORT = "medium"
EFFORTS = ("low", "medium", "high", "max", "exhaustive")  # that every inverter has
STEPS = 20
BEAM = 8
PATIENCE = 3
CHUNK_SIZE = 256  # rows that go through a function at once on a CPU
ACCELERATOR_CHUNK_SIZE = 2048
INVERTER = "minilm"
SAMPLES = 100
PAIRS = 1000  # texts that an inverter is adapted to another embedder with
AT_ONCE = 1024  # targets that a stream searches together at most, on an accelerator
CPU_AT_ONCE = 64
