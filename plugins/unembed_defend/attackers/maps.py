"""Maps from stored vectors back to clean ones, fitted to pairs: the shape that fits held-back pairs best is taken."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unembed_defend.attackers.seen import unit
from unembed_text.methods.adapted.fitting import FEWEST, fit_map

__all__ = ["Back", "assigned", "best_back", "linear_back", "procrustes"]

EXACT = 0.9999  # mean cosine on pairs held back from which no other shape is tried
SPLITS = 3  # ways in which pairs are held back, where a fit takes no time
Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Back:
    """A map `[N, E]` to `[N, D]`, its shape in a word, and its mean cosine on pairs that it wasn't fitted to."""

    map: Map
    shape: str
    cosine: float


def best_back(stored: Tensor, clean: Tensor, *, seed: int = 0) -> Back:
    """The map from `stored` `[k, E]` to `clean` `[k, D]` of the same k texts that fits pairs held back best."""
    found: list[Back] = []
    shapes: dict[str, Callable[[Tensor, Tensor], Map]] = {"Procrustes": procrustes}
    if stored.shape[1] == clean.shape[1]:
        shapes = {"none": unmoved, "assignment": assigned, **shapes}
    for shape, fit in shapes.items():
        found.append(Back(fit(stored, clean), shape, _held_back(stored, clean, fit, seed)))
        if found[-1].cosine > EXACT:
            return found[-1]
    if len(stored) >= FEWEST:
        ridge = fit_map(stored, clean, seed=seed)
        found.append(Back(ridge.map, "ridge", ridge.quality.cosine))
    return max(found, key=lambda one: one.cosine)


def unmoved(stored: Tensor, clean: Tensor) -> Map:
    """Nothing."""
    return lambda vectors: vectors


def assigned(stored: Tensor, clean: Tensor) -> Map:
    """The order of the columns of `stored` in which they are most like those of `clean`, all in all.

    That is the linear assignment (Kuhn 1955) of the greatest sum of products of columns, the likeliest order under
    Gaussian noise; a scale changes nothing.
    """
    from scipy.optimize import linear_sum_assignment

    products = _array(clean).T @ _array(stored)
    order = torch.from_numpy(linear_sum_assignment(products, maximize=True)[1]).to(stored.device)
    return lambda vectors: vectors[:, order]


def procrustes(stored: Tensor, clean: Tensor) -> Map:
    """The orthogonal map nearest to what takes `stored` to `clean` (Schönemann 1966).

    Directions that the pairs say nothing of are left out.
    """
    left, values, right = torch.linalg.svd(stored.double().T @ clean.double(), full_matrices=False)
    known = values > 1e-9 * values[0]
    turn = left[:, known] @ right[known]
    return lambda vectors: (vectors.double() @ turn).float()


def linear_back(stored: Tensor, clean: Tensor) -> Map:
    """Least squares with a constant and next to no ridge: the yardstick of all defences."""
    origin, mean = stored.double().mean(0), clean.double().mean(0)
    a, b = stored.double() - origin, clean.double() - mean
    ridge = 1e-6 * float(a.square().sum()) / a.shape[1]
    gram = a.T @ a + ridge * torch.eye(a.shape[1], dtype=torch.float64, device=a.device)
    weight = torch.linalg.solve(gram, a.T @ b)
    return lambda vectors: ((vectors.double() - origin) @ weight + mean).float()


def _held_back(stored: Tensor, clean: Tensor, fit: Callable[[Tensor, Tensor], Map], seed: int) -> float:
    """The mean cosine of pairs with what a fit to the others makes of them."""
    few, cosines = max(1, round(0.1 * len(stored))), []
    draw = torch.Generator().manual_seed(seed)
    for _ in range(SPLITS):
        order = torch.randperm(len(stored), generator=draw).to(stored.device)
        out, kept = order[:few], order[few:]
        made = fit(stored[kept], clean[kept])(stored[out])
        cosines.append((unit(made) * unit(clean[out])).sum(1))
    return float(torch.cat(cosines).mean())


def _array(vectors: Tensor) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    found: np.ndarray[tuple[int, int], np.dtype[np.float64]] = vectors.double().cpu().numpy()
    return found
