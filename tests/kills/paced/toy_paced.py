"""The toy for workers in other processes, which find it where PYTHONPATH names this folder.

A search takes PACED_SECONDS, and PACED_LOG says which process made it, of how many vectors;
with PACED_DIES it kills its process instead.
"""

import os
import signal
import time

from unembed.inversion.inverter import Inverter
from unembed.testing.toy import register_embedders, register_inverters, register_methods, register_modalities

__all__ = ["register_embedders", "register_inverters", "register_methods", "register_modalities"]

_invert = Inverter.invert


def _paced(self, vectors, **options):
    if "PACED_DIES" in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
    found = _invert(self, vectors, **options)
    time.sleep(float(os.environ["PACED_SECONDS"]))
    with open(os.environ["PACED_LOG"], "a") as file:
        print(os.getpid(), len(vectors), file=file, flush=True)
    return found


if "PACED_LOG" in os.environ:
    Inverter.invert = _paced
