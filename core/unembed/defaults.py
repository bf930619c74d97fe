"""The defaults of an inversion, written once for the library, the command line and the docs."""

EFFORT = "medium"
STEPS = 20
BEAM = 8
PATIENCE = 3
CHUNK_SIZE = 256  # rows that go through a function at once on a CPU
ACCELERATOR_CHUNK_SIZE = 2048
INVERTER = "minilm"
SAMPLES = 100
COMBINED = 8  # combinations of a round's edits at a time, where an editor makes them
COMBINATIONS = 2  # how often a round: the second time with what the first brought
REACH = 4  # edits asked for to take one: those that a target has met are passed over
