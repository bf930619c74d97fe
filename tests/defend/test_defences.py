"""Each defence's arithmetic, and how one is asked for."""

import math
import sys

import pytest
import torch

from unembed import Defence, DefenceSpec, InputError, PluginError, UnknownNameError, hookimpl
from unembed_defend.defences.opening import known_defences, open_defence

from .conftest import cosine, vectors

D = 384


def defended(name: str, clean: torch.Tensor, seed: int = 3) -> torch.Tensor:
    defence = open_defence(name)
    defence.fit(vectors(600, clean.shape[1], seed=9), 1)
    return defence.apply(clean, seed)


def of_von_mises_fisher(epsilon: float) -> float:
    """The mean cosine ρ with ε / d = ρ / (1 − ρ²), nearly (Banerjee et al. 2005)."""
    ratio = D / epsilon
    return (-ratio + math.sqrt(ratio**2 + 4)) / 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gaussian:0.01", 1 / math.sqrt(1 + D * 0.01**2)),
        ("gaussian:0.05", 1 / math.sqrt(1 + D * 0.05**2)),
        ("laplace:0.02", 1 / math.sqrt(1 + D * 0.02**2)),
        ("vmf:384", of_von_mises_fisher(384)),
        ("vmf:1536", of_von_mises_fisher(1536)),
        ("purmech:384", 384 / math.hypot(384, D - 2)),
        ("purmech:1536", 1536 / math.hypot(1536, D - 2)),
        ("int8", 1.0),
        ("binary", math.sqrt(2 / math.pi)),
        ("clip:0.5", 1.0),
        ("drop-text", 1.0),
    ],
)
def test_the_cosine_that_a_defence_leaves_is_as_expected(name, expected) -> None:
    clean = vectors(400)
    assert cosine(defended(name, clean), clean) == pytest.approx(expected, abs=0.02 if name == "binary" else 0.004)


def test_noise_differs_by_seed_and_not_otherwise() -> None:
    clean = vectors(5)
    assert torch.equal(defended("gaussian:0.1", clean), defended("gaussian:0.1", clean))
    assert not torch.equal(defended("gaussian:0.1", clean), defended("gaussian:0.1", clean, seed=4))
    noise = defended("laplace:0.1", vectors(300)) - vectors(300)
    assert float(noise.std()) == pytest.approx(0.1, rel=0.02)
    assert float(noise.abs().mean()) == pytest.approx(0.1 / math.sqrt(2), rel=0.02)  # a normal law's would be 0.08


def test_directions_drawn_on_the_sphere_keep_their_length() -> None:
    for name in ("vmf:100", "purmech:100"):
        assert torch.allclose(defended(name, 3 * vectors(9)).norm(dim=1), torch.full((9,), 3.0), atol=1e-4)


def test_rounding_has_as_many_levels_as_it_says() -> None:
    clean = vectors(20)
    for name, levels in (("int8", 255), ("int4", 15), ("binary", 2)):
        assert max(len(row.unique()) for row in defended(name, clean)) <= levels
    assert defended("int4", clean).sub(clean).abs().max() <= clean.abs().max() / 14 + 1e-6


def test_product_quantisation_keeps_the_nearest_of_256_centres_of_each_part() -> None:
    pytest.importorskip("faiss")
    clean = vectors(40, 32)
    coarse, fine = (cosine(defended(f"pq:{parts}", clean), clean) for parts in (2, 16))
    assert 0.5 < coarse < fine < 1
    codes = defended("pq:2", vectors(2000, 32, seed=4))
    assert len(codes[:, :16].unique(dim=0)) <= 256
    assert open_defence("pq:16").size(32) == 16


@pytest.mark.parametrize("name", ["truncate:96", "pca:96", "randproj:96"])
def test_narrower_vectors_are_as_wide_as_asked(name) -> None:
    defence = open_defence(name)
    clean = vectors(50)
    defence.fit(vectors(600, seed=9), 1)
    stored = defence.apply(clean)
    assert stored.shape == (50, 96) and defence.size(96) == 384
    assert torch.allclose(defence.query(clean), stored, atol=1e-6)
    assert defence.undo(stored).shape == clean.shape
    if name != "randproj:96":
        assert cosine(defence.undo(stored), clean) > (0.4 if name == "truncate:96" else 0.8)


@pytest.mark.parametrize("name", ["rotation", "permutation"])
def test_a_secret_map_keeps_every_cosine_and_its_key(name) -> None:
    clean = vectors(30)
    stored = defended(name, clean)
    assert torch.allclose(stored @ stored.T, clean @ clean.T, atol=1e-5)
    assert cosine(stored, clean) < 0.3
    assert torch.equal(stored, defended(name, clean, seed=8))  # the key is drawn by `fit`
    other = open_defence(name)
    other.fit(clean, 2)
    assert not torch.equal(stored, other.apply(clean))


@pytest.mark.parametrize("beta", [1, 4])
def test_scale_and_perturb_leaves_its_bounded_noise_in_one_order(beta) -> None:
    clean = vectors(300)
    stored = defended(f"dcpe:{beta}", clean)
    scale = float(stored.norm(dim=1).mean()) / math.sqrt(1 + beta**2 / 16)
    products = (stored / scale) @ (stored / scale).T
    assert 1 <= scale <= 2**10
    assert float((products - clean @ clean.T).fill_diagonal_(0).mean().abs()) < 0.01
    back = stored[:, open_order(f"dcpe:{beta}", clean)] / scale
    off = (back - clean).norm(dim=1)
    assert float(off.max()) <= beta / 4 * 1.02 and cosine(back, clean) == pytest.approx(
        1 / math.sqrt(1 + beta**2 / 16), abs=0.01
    )


def open_order(name: str, clean: torch.Tensor) -> torch.Tensor:
    defence = open_defence(name)
    defence.fit(vectors(600, seed=9), 1)
    return defence._order.argsort()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gaussian", "gaussian:SIGMA"),
        ("gaussian:lots", "standard deviation"),
        ("gaussian:-1", "above 0"),
        ("gaussian:nan", "above 0"),
        ("pca:1.5", "whole number"),
        ("int8:4", "takes no parameter"),
        ("pq:0", "whole number"),
        ("rotation:3", "takes no parameter"),
    ],
)
def test_a_wrong_parameter_is_named(name, says) -> None:
    with pytest.raises(InputError, match=says):
        open_defence(name)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"gausian.*known:.*gaussian:SIGMA"):
        open_defence("gausian")
    with pytest.raises(UnknownNameError, match="no module of that name"):
        open_defence("gausian:0.01")
    with pytest.raises(UnknownNameError, match="has no function 'no_such'"):
        open_defence("math:no_such")
    assert {"gaussian:SIGMA", "int8", "drop-text", "dcpe:BETA"} <= set(known_defences())


@pytest.mark.parametrize("name", ["truncate:400", "pca:385", "randproj:500"])
def test_more_values_than_there_are_is_an_error(name) -> None:
    with pytest.raises(InputError, match="384 wide"):
        open_defence(name).fit(vectors(10))


def test_parts_that_dont_divide_a_vector_are_an_error() -> None:
    pytest.importorskip("faiss")
    with pytest.raises(InputError, match="equal parts"):
        open_defence("pq:7").fit(vectors(300))
    with pytest.raises(InputError, match="256 vectors"):
        open_defence("pq:8").fit(vectors(10))


def test_vectors_of_another_width_and_an_unfitted_defence_are_errors() -> None:
    defence = open_defence("int8")
    with pytest.raises(InputError, match="fitted first"):
        defence.apply(vectors(2))
    defence.fit(vectors(2))
    with pytest.raises(InputError, match="384 wide"):
        defence.apply(vectors(2, 24))


def test_a_function_of_a_teams_own_is_a_defence(tmp_path, monkeypatch) -> None:
    (tmp_path / "ours_of_test.py").write_text(
        "def half(vectors):\n    return vectors[:, ::2]\n\ndef broken(vectors):\n    return vectors[:1]\n"
        "\ndef words(vectors):\n    return 'no'\n"
    )
    monkeypatch.chdir(tmp_path)
    defence = open_defence("ours_of_test:half")
    clean = vectors(3)
    defence.fit(clean)
    assert defence.name == "ours_of_test:half" and defence.keyed
    assert torch.equal(defence.apply(clean), clean[:, ::2])
    for name, error in (("broken", PluginError), ("words", InputError)):
        wrong = open_defence(f"ours_of_test:{name}")
        wrong.fit(clean)
        with pytest.raises(error, match=f"ours_of_test:{name}"):
            wrong.apply(clean)


class Negative(Defence):
    """What a stranger's plugin might offer."""

    def __init__(self) -> None:
        super().__init__(name="negative", granted="Everything.")

    def _apply(self, vectors, generator):
        return -vectors


def test_a_strangers_plugin_offers_a_defence(install) -> None:
    import types
    from importlib.metadata import EntryPoint

    @hookimpl
    def register_defences():
        return [DefenceSpec("negative", "the other way round", lambda argument: Negative())]

    module = types.ModuleType("negative_of_test")
    module.register_defences = register_defences
    sys.modules["negative_of_test"] = module
    try:
        install(EntryPoint("negative", "negative_of_test", "unembed"))
        defence = open_defence("negative")
        defence.fit(vectors(2))
        assert torch.equal(defence.apply(vectors(2)), -vectors(2))
    finally:
        del sys.modules["negative_of_test"]
