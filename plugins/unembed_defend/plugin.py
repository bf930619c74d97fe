"""What the plugin offers: the commands `defend` and `study`, and the defences that it knows."""

from functools import partial

from unembed.registry.hooks import hookimpl
from unembed.registry.lazy import lazy
from unembed.registry.specs import CommandSpec, DefenceSpec

LIBRARIES = ("jinja2", "markupsafe", "pygal", "pytrec_eval", "scipy")
STUDY_LIBRARIES = ("resvg_py",)
MISSING = "this needs an extra: pip install 'unembed[defend]'"
_faiss = partial(lazy, missing="pq needs an extra: pip install 'unembed[defend]'", libraries={"faiss"})


@hookimpl
def register_commands() -> list[CommandSpec]:
    libraries = LIBRARIES + STUDY_LIBRARIES
    defend = lazy("unembed_defend.commands.defend:defend", missing=MISSING, libraries=libraries)
    study = lazy("unembed_defend.commands.study:study", missing=MISSING, libraries=libraries)
    return [
        CommandSpec("defend", "Show what defences of stored vectors are worth, and what they cost.", defend.get),
        CommandSpec("study", "Measure inversion by text length, vector width and precision.", study.get),
    ]


@hookimpl
def register_defences() -> list[DefenceSpec]:
    noise, rounding, linear, rest = (
        f"unembed_defend.defences.{name}" for name in ("noise", "rounding", "linear", "withholding")
    )
    return [
        DefenceSpec("gaussian", "Gaussian noise on each value", lazy(f"{noise}:gaussian"), "SIGMA"),
        DefenceSpec("laplace", "Laplace noise of that standard deviation", lazy(f"{noise}:laplace"), "SIGMA"),
        DefenceSpec(
            "vmf", "metric privacy by von Mises and Fisher's law", lazy(f"{noise}:von_mises_fisher"), "EPSILON"
        ),
        DefenceSpec("purmech", "metric privacy by the angle (PurMech)", lazy(f"{noise}:purmech"), "EPSILON"),
        DefenceSpec("int8", "8 bits a value, scaled per vector", lazy(f"{rounding}:int8")),
        DefenceSpec("int4", "4 bits a value, scaled per vector", lazy(f"{rounding}:int4")),
        DefenceSpec("binary", "the sign of each value", lazy(f"{rounding}:binary")),
        DefenceSpec("pq", "product quantisation, 8 bits a part", _faiss(f"{rounding}:product_quantisation"), "PARTS"),
        DefenceSpec("truncate", "the first values alone", lazy(f"{linear}:truncate"), "WIDTH"),
        DefenceSpec("pca", "the first principal components", lazy(f"{linear}:pca"), "WIDTH"),
        DefenceSpec("randproj", "a secret random projection", lazy(f"{linear}:random_projection"), "WIDTH"),
        DefenceSpec("rotation", "one secret rotation", lazy(f"{linear}:rotation")),
        DefenceSpec("permutation", "one secret order of the values", lazy(f"{linear}:permutation")),
        DefenceSpec("dcpe", "scale, bounded noise and a secret order", lazy(f"{linear}:scale_and_perturb"), "BETA"),
        DefenceSpec("clip", "no vector longer than that", lazy(f"{rest}:clip"), "NORM"),
        DefenceSpec("drop-text", "texts removed, ids and vectors kept", lazy(f"{rest}:drop_text")),
    ]
