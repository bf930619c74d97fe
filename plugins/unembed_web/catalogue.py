"""The inverters that the page offers: what is known of them unopened, and the opened ones."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unembed.defaults import EFFORT, EFFORTS, INVERTER
from unembed.errors import InputError, UnembedError, brief
from unembed.registry.discovery import modality_of, offered, plugins
from unembed.registry.extras import lacking

if TYPE_CHECKING:
    from unembed.inversion.inverter import Inverter
    from unembed.registry.specs import InverterSpec, Modality

__all__ = ["Catalogue"]


class Catalogue:
    """Inverters by name, those of installed plugins unless `names` are given; the first is opened first.

    One whose embedder costs money is offered only where it is among `names`. A visitor can choose among them and name
    no other: what `load` would take from a folder or a hub isn't reached by a name that comes over the network. Opening
    one imports torch; listing them doesn't.
    """

    def __init__(self, names: Sequence[str] = (), device: str | None = None) -> None:
        known = [spec.name for info in plugins() if info.error is None for spec in info.inverters]
        self.names = list(dict.fromkeys(names or sorted(known, key=lambda name: name != INVERTER)))
        if not self.names:
            raise InputError("no inverter is installed: pip install 'unembed[text]', or name a folder with --inverter")
        self._device, self._meant = device, frozenset(names)
        self._open: dict[str, Inverter] = {}
        self._state: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def first(self) -> str:
        """The one to open before anybody asks: the first that lacks nothing."""
        return next((name for name in self.names if self._lacking(name) is None), self.names[0])

    def listed(self) -> list[dict[str, Any]]:
        """Each inverter as the page shows it; `state` is "unopened", "opening", "ready" or what went wrong."""
        return [self._listed(name) for name in self.names]

    def opened(self, name: str) -> "tuple[Inverter, Modality | None]":
        """The inverter of that name, opened where it isn't yet, and its modality; called by one thread alone."""
        if name not in self.names:
            raise InputError(f"no inverter {brief(name)!r} on this page; it has {', '.join(self.names)}")
        if name not in self._open:
            from unembed.registry.opening import load

            self._told(name, "opening")
            try:
                inverter = self._free(name, load(name, device=self._device))
                if inverter.embedder.meter is None:
                    # What libraries put off until they are first used is over before a visitor waits for it.
                    inverter.invert(inverter.embed(inverter.codec.probes[:1]), steps=1, beam=2)
                self._open[name] = inverter
            except UnembedError as error:
                self._told(name, brief(error, 390))
                raise
            except Exception:
                self._told(name, "unopened")
                raise
            self._told(name, "ready")
        return self._open[name], modality_of(self._open[name])

    def _free(self, name: str, inverter: "Inverter") -> "Inverter":
        """The inverter, where visitors cost nothing or were meant to."""
        if inverter.embedder.meter is not None and name not in self._meant:
            raise InputError(
                f"{brief(name)} asks a service that may cost money, {inverter.embedder.name}: start the page with "
                f"--inverter {brief(name)} to let visitors use it"
            )
        return inverter

    def _told(self, name: str, state: str) -> None:
        with self._lock:
            self._state[name] = state

    def _listed(self, name: str) -> dict[str, Any]:
        spec = self._spec(name)
        with self._lock:
            state, inverter = self._state.get(name, "unopened"), self._open.get(name)
        efforts = list(EFFORTS)
        told: dict[str, Any] = {"modality": None, "picture": False}
        if inverter is not None and state == "ready":
            kind = modality_of(inverter)
            efforts = list(dict.fromkeys([*EFFORTS, *inverter.efforts]))
            told = {"modality": inverter.embedder.modality, "picture": kind is not None and kind.picture is not None}
        return {
            "name": name,
            "summary": "" if spec is None else spec.summary,
            "embedder": None if spec is None else spec.embedder,
            "dimension": inverter.dimension if inverter is not None else None if spec is None else spec.dimension,
            "missing": self._lacking(name),
            "state": state,
            "efforts": efforts,
            "effort": EFFORT,
            **told,
        }

    def _spec(self, name: str) -> "InverterSpec | None":
        found: InverterSpec | None = offered("inverters", name)
        return found

    def _lacking(self, name: str) -> str | None:
        spec = self._spec(name)
        return None if spec is None else lacking(spec, plugins())
