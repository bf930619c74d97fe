"""The map between two embedders' spaces."""

import pytest
import torch
from torch.nn import functional as F

from unembed.errors import InputError
from unembed_text.methods.adapted import fitting
from unembed_text.methods.adapted.fitting import Choice, best_choice, fit_map, fitted, measured, radial_kernel


def spaces(count: int, *, bent: bool = False, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors `[N, 12]`, and what a rotation or something less simple makes of them, `[N, 8]`."""
    draw = torch.Generator().manual_seed(seed)
    target = F.normalize(torch.randn(count, 8, generator=draw) + 0.5, dim=-1)
    mix = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(9)))[0][:, :8].T
    source = target @ mix
    return (torch.tanh(6 * source) if bent else source), target


def test_a_rotation_is_found_again() -> None:
    source, target = spaces(200)
    fit = fit_map(source, target)
    new, wanted = spaces(50, seed=1)
    assert fit.quality.cosine > 0.9999 and fit.quality.first == 1 and fit.quality.pairs == 20
    assert F.cosine_similarity(fit.map(new), wanted, dim=-1).min() > 0.999
    assert torch.allclose(fit.map(7 * new), fit.map(new), atol=1e-5)  # lengths say nothing


def test_a_bent_space_needs_the_radial_part() -> None:
    source, target = spaces(400, bent=True)
    new, wanted = spaces(100, bent=True, seed=1)
    fit = fit_map(source, target)
    plain = torch.linalg.lstsq(F.normalize(source, dim=-1), target).solution
    linear = F.cosine_similarity(F.normalize(new, dim=-1) @ plain, wanted, dim=-1)
    assert 1 - measured(fit.map, new, wanted).cosine < 0.9 * (1 - linear.mean())


def test_leaving_one_out_in_closed_form_is_leaving_one_out(monkeypatch) -> None:
    source, target = (x[:12].double() for x in spaces(12, bent=True))
    source = F.normalize(source, dim=-1)
    for name, few in (("TILTS", (0.0, 3.0)), ("REACHES", (0.3, 1.2)), ("NOISES", (1e-3, 0.3))):
        monkeypatch.setattr(fitting, name, few)
    centred, wanted = source - source.mean(0), target - target.mean(0)

    def error(choice: Choice) -> float:
        kernel = 2 * choice.tilt * centred @ centred.T / 0.5 + radial_kernel(source, source, 0.5 * choice.reach)
        total = 0.0
        for out in range(12):
            rest = [row for row in range(12) if row != out]
            inverse = torch.linalg.inv(kernel[rest][:, rest] + choice.noise * torch.eye(11))
            total += float((kernel[out, rest] @ inverse @ wanted[rest] - wanted[out]).square().sum())
        return total

    choices = [Choice(t, r, n) for t in fitting.TILTS for r in fitting.REACHES for n in fitting.NOISES]
    assert best_choice(source, target, 0.5) == min(choices, key=error)


def test_many_pairs_are_fitted_with_some_as_centres(monkeypatch) -> None:
    source, target = spaces(300, bent=True)
    unit, new = F.normalize(source.double(), dim=-1), spaces(50, bent=True, seed=1)
    choice = Choice(3.0, 0.6, 1e-2)
    whole = fitted(unit, target.double(), choice, 1.0)
    monkeypatch.setattr(fitting, "MOST_CENTRES", 299)
    nearly = fitted(unit, target.double(), choice, 1.0)
    assert torch.allclose(whole(new[0]), nearly(new[0]), atol=0.02)
    monkeypatch.setattr(fitting, "MOST_CENTRES", 60)
    few = fitted(unit, target.double(), choice, 1.0)
    assert len(few.centres) == 60 and measured(few, *new).cosine > 0.95
    assert measured(few, *new).cosine > measured(fitted(unit[:60], target[:60].double(), choice, 1.0), *new).cosine


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(InputError, match="20 pairs or more, better 1,000; got 19"):
        fit_map(*spaces(19))


def test_quality_is_worked_out_by_hand() -> None:
    target = torch.eye(3)
    space = fitted(torch.eye(3).double(), target.double(), Choice(0.0, 0.3, 1e-9), 2.0)
    assert measured(space, target, target).first == 1
    turned = measured(space, target.roll(1, 0), target)
    assert turned.first == 0 and turned.rank > 1 and turned.cosine < 0.1 and turned.centred < 0
