"""A checkpoint's own test: a short search, and the similarity that it reached when the checkpoint was saved."""

from typing import TYPE_CHECKING

from unembed.checkpoints.manifest import SelfTest
from unembed.errors import CheckpointError

if TYPE_CHECKING:
    from unembed.inversion.inverter import Inverter

__all__ = ["measured", "run"]

EFFORT, STEPS, BEAM = "low", 1, 2
SLACK = 0.02  # rounded weights and other hardware may cost so much similarity


def measured(inverter: "Inverter") -> SelfTest | None:
    """A test that the inverter passes now, on the probe that it recovers best.

    None for an embedder that costs money or can't be asked.
    """
    if inverter.embedder.meter is not None or not inverter.embedder.available:
        return None
    test = SelfTest(probe=0, effort=EFFORT, steps=STEPS, beam=BEAM, similarity=0)
    reached = [_reached(inverter, probe, test) for probe in inverter.codec.probes]
    probe = max(range(len(reached)), key=reached.__getitem__)
    return test.model_copy(update={"probe": probe, "similarity": round(reached[probe], 4)})


def run(inverter: "Inverter") -> None:
    """Run the test that the inverter's checkpoint brings; raises CheckpointError if it reaches less than it did."""
    test = inverter.manifest.self_test if inverter.manifest is not None else None
    if test is None:
        raise CheckpointError(f"inverter {inverter.name!r} has no self-test to run")
    if test.probe is not None and test.probe >= len(inverter.codec.probes):
        raise CheckpointError(
            f"the self-test of {inverter.name!r} names probe {test.probe}, which its codec doesn't have"
        )
    subject = test.object if test.probe is None else inverter.codec.probes[test.probe]
    reached = _reached(inverter, subject, test)
    if not reached >= test.similarity - SLACK:
        raise CheckpointError(
            f"inverter {inverter.name!r} fails its self-test: similarity {reached:.3f}, {test.similarity:.3f} when it "
            f"was saved; its weights may be damaged"
        )


def _reached(inverter: "Inverter", subject: object, test: SelfTest) -> float:
    found = inverter.invert(inverter.embed([subject]), effort=test.effort, steps=test.steps, beam=test.beam)
    return float(found.similarity[0])
