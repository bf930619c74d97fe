"""The defaults of an inversion, written once for the library, the command line and the docs."""

STEPS = 20
BEAM = 8
PATIENCE = 3
CHUNK_SIZE = 256
INVERTER = "minilm"
SAMPLES = 100
