"""The attacker who inverts what is stored as if nothing had been done to it."""

from unembed_defend.attackers.seen import Attempt, Refused, Seen

__all__ = ["unaware"]


def unaware(seen: Seen) -> Attempt | Refused:
    """What is stored, as it is; nothing is told of rounding or noise."""
    if seen.stored.shape[1] != seen.width:
        return Refused(f"the inverter takes vectors {seen.width} wide, and those stored are {seen.stored.shape[1]}")
    return Attempt(seen.stored, "float32", "inverted as if nothing had been done")
