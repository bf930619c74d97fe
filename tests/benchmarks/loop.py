"""What the loop itself costs: milliseconds a step on the toy, whose networks cost next to nothing."""

import time

from unembed.testing.toy import toy_inverter, words

inverter = toy_inverter()
for count in (1, 64, 1024):
    vectors = inverter.embed(words(count, seed=2))
    inverter.invert(vectors, steps=2, beam=8, precision="float32")  # which spares reading it from the digits
    began = time.perf_counter()
    found = inverter.invert(vectors, steps=20, beam=8, trace=True, precision="float32")
    seconds = time.perf_counter() - began
    rounds = len(found.trace or ())
    rate = found.queries.sum().item() / seconds
    print(f"{count:5} targets: {seconds / rounds * 1e3:7.2f} ms a step, {rate:9.0f} queries/s")
