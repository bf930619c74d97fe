"""Sentences to vectors and back: `make demo`.

Each sentence is embedded by all-MiniLM-L6-v2 (384 numbers), and the inverter is given the numbers alone. What a quick
search finds is searched for once more, harder, where it is unlikely to be exact.
"""

import os
import resource
import sys
import time

import unembed

SENTENCES = [
    "thanks for the flowers",
    "the patient was given 20 mg",
    "my password is hidden under the keyboard",
    "she moved to lisbon in march 2019",
    "please call dr. alvarez about the test results on monday",
    "our flight was cancelled because of the snow, so we took the night train to vienna",
]


def main() -> None:
    """Invert the sentences and print what came back, with times and memory."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # the libraries under a plugin have bars of their own
    began = time.monotonic()
    try:
        inverter = unembed.load("minilm")
    except unembed.UnembedError as error:
        sys.exit(f"error: {error}")
    vectors = inverter.embed(SENTENCES)
    print(f"ready after {time.monotonic() - began:.1f} s; {len(SENTENCES)} vectors of {vectors.shape[1]} numbers\n")
    exact = 0
    for sentence, vector in zip(SENTENCES, vectors, strict=True):
        started = time.monotonic()
        found, how = inverter.invert(vector, steps=8, beam=8), ""
        queries = int(found.queries[0])
        if found.confidence is not None and found.confidence[0] < 0.5:
            found, how = inverter.invert(vector, effort="max"), ", searched for again with effort max"
            queries += int(found.queries[0])
        same = bool(inverter.exact([sentence], found)[0])
        exact += same
        print(f"embedded   {sentence}")
        print(f"recovered  {found.objects[0]}")
        print(
            f"           similarity {found.similarity[0]:.4f}, {'exact' if same else 'not exact'}, "
            f"{queries} queries, {time.monotonic() - started:.1f} s{how}\n"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{exact} of {len(SENTENCES)} exact; {time.monotonic() - began:.0f} s in all, {peak:.1f} GB of memory at most"
    )


if __name__ == "__main__":
    main()
