"""Manifests of earlier versions, brought to today's form. Each older form has a migration of its own."""

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["MIGRATIONS", "migrated"]

Data = Mapping[str, Any]


def method_beside_modality(data: Data) -> Data:
    """`modality` once named what opens a checkpoint: a method, as "vec2text", or a modality with one method.

    The name becomes the method's; where it is a modality's it stands for that one's own method. The registry, which
    knows the methods, corrects the modality when the checkpoint is opened.
    """
    return data if "method" in data or "modality" not in data else {**data, "method": data["modality"]}


MIGRATIONS: tuple[Callable[[Data], Data], ...] = (method_beside_modality,)


def migrated(data: Data) -> Data:
    """`data` of a manifest's JSON, of any age, in today's form."""
    for migration in MIGRATIONS:
        data = migration(data)
    return data
