"""What the Ray plugin offers. Ray waits until the engine is asked for."""

from unembed.registry.hooks import hookimpl
from unembed.registry.lazy import lazy
from unembed.registry.specs import EngineSpec


@hookimpl
def register_engines() -> list[EngineSpec]:
    missing = "the engine ray needs its extra: pip install 'unembed[ray]'"
    engine = lazy("unembed_ray.engine:RayEngine", missing=missing, libraries={"ray"})
    return [EngineSpec("ray", "actors of a Ray cluster, an inverter each", engine)]
