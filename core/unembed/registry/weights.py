"""Where weights lie: in the tree of the plugin that they belong to, or in an installed distribution of their own."""

from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from unembed.errors import MissingExtraError, PluginError

__all__ = ["find_weights"]

GROUP = "unembed.weights"


def find_weights(name: str, tree: Path, inside: str | None = None) -> Path:
    """The folder or file `inside` (`name` if None) of the weights called `name`.

    `tree` is where a plugin's own tree keeps its weights, as in a clone; what lies there comes first. Elsewhere the
    distribution `unembed-NAME` has them: its entry point `name` of the group `unembed.weights` names a package that
    holds the same files. Nothing is imported. Raises MissingExtraError, which says what to install, where neither has
    them, and PluginError where two distributions do.
    """
    inside = name if inside is None else inside
    if (tree / inside).exists():
        return tree / inside
    points = list(entry_points(group=GROUP, name=name))
    if len(points) > 1:
        owners = " and ".join(point.dist.name if point.dist else point.value for point in points)
        raise PluginError(f"the weights {name!r} are offered by {owners}; uninstall all but one of them")
    for point in points:
        spec = find_spec(point.value)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            if (found := Path(folder, inside)).exists():
                return found
    raise MissingExtraError(f"the weights of {name!r} aren't installed: pip install unembed-{name}")
