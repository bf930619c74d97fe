"""Small changes of an image and their best combination: how a search goes on where corrections stall.

A surrogate's gradient says less and less about the black box, the further a search has followed it. So the black box is
asked about many small changes of one image, and as each answer is a whole vector, they tell what any combination of
these changes would do, as long as changes are small: Gauss and Newton's method on differences (Cartis and Roberts
2019), in the space that the changes span (the same 2023), damped (Levenberg 1944). Where a combination leads is asked
too, and the differences serve once more from there.
"""

import torch
from torch import Tensor

from unembed.contract.proposers import Editor
from unembed_image.codec import levels
from unembed_image.methods.flow.proposals import halved, smoothed, unit
from unembed_image.networks.network import ImageNetwork

__all__ = ["Edit"]

# RMS of the first change of a step and of the last, the levels going from 0 to 1: large ones get ahead while answers
# are far off, small ones tell more of the slope near the end. Rounding leaves a small one at a few places only.
FIRST, LAST = 0.003, 0.001
NOISE = 0.03  # of a gradient, smooth: what is left to try where gradients have few directions
ALIKE = 1e-3  # of squared lengths: what two changes differ by less is left to them
LONG = 1.5  # times as long as edits are: no small change
LIGHTEST, HEAVIEST = 0.05, 6.4  # damping, over the mean square of what a change of length 1 does to the embedding


class Edit(Editor):
    """Changes that the surrogate of the black box finds to matter, in random proportions, and sums of them.

    A change is the surrogate's gradient of what the embedding still lacks, each value of it more or less by chance,
    less what it has in common with those before it: gradients are much alike, and answers to what they share would
    drown the rest. The first is the largest.
    """

    def __init__(self, network: ImageNetwork) -> None:
        self.network = network

    def _correct(
        self,
        target: Tensor,
        hypothesis: Tensor,
        embedding: Tensor,
        count: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        network = self.network
        if generator is None:
            generator = torch.Generator(target.device).manual_seed(0)
        lacks = network.coordinates(embedding, target) - network.coordinates(target, target)
        with torch.enable_grad():
            image = hypothesis.detach().requires_grad_()
            with halved(image):
                said = network.coordinates(network.predict(image), target, log=True)
            gradients = []
            for number in range(count):
                weight = lacks * (1 + torch.randn(lacks.shape, device=lacks.device, generator=generator))
                more = number + 1 < count
                (gradient,) = torch.autograd.grad((said * weight).sum(), image, retain_graph=more)
                noise = torch.randn(image.shape, device=image.device, generator=generator)
                gradients.append(unit(smoothed(gradient.float())) + NOISE * unit(smoothed(noise)))
        changes = unit(_apart(torch.stack(gradients, 1)).flatten(0, 1)).view(-1, count, *hypothesis.shape[1:])
        sizes = FIRST * torch.logspace(0, 1, count, base=LAST / FIRST, device=target.device)
        return levels(hypothesis[:, None] + sizes[:, None, None, None] * changes)

    def _combine(
        self, target: Tensor, hypothesis: Tensor, embedding: Tensor, edits: Tensor, answers: Tensor, count: int
    ) -> Tensor:
        network = self.network
        reached = network.coordinates(embedding, target)
        changes = (edits - hypothesis[:, None]).flatten(2)
        length = changes.norm(dim=2, keepdim=True)
        # The rest is the hypothesis itself, or combinations, which go too far to tell a slope.
        small = (length > 0) & (length < LONG * FIRST * changes.shape[2] ** 0.5)
        inverse = torch.where(small, 1 / length, 0)
        changes *= inverse
        moved = (network.coordinates(answers, target[:, None]) - reached[:, None]) * inverse
        # From the nearest so far, which once combinations are known is one of them.
        far, best = network.distance(answers, target[:, None]).min(1)
        place = torch.arange(len(target), device=target.device), best
        nearer = far < network.distance(embedding, target)
        start = torch.where(nearer[:, None, None, None], edits[place], hypothesis)
        nearest = torch.where(nearer[:, None], answers[place], embedding)
        wanted = network.coordinates(target, target) - network.coordinates(nearest, target)
        product = moved @ moved.mT
        scale = (product.diagonal(dim1=1, dim2=2).sum(1) / small.sum((1, 2)).clamp_min(1)).clamp_min(1e-12)
        damping = torch.logspace(0, 1, count, base=HEAVIEST / LIGHTEST, device=target.device) * LIGHTEST
        damping = (damping * scale[:, None])[..., None, None] * torch.eye(product.shape[1], device=target.device)
        gain = (moved @ wanted[..., None])[:, None].expand(-1, count, -1, -1)
        # By Cholesky's factors: MKL's LU has failed on some of these with several threads.
        share = torch.cholesky_solve(gain, torch.linalg.cholesky(product[:, None] + damping))[..., 0]
        return levels(start[:, None] + (share @ changes).unflatten(2, hypothesis.shape[1:]))


def _apart(gradients: Tensor) -> Tensor:
    """What each of `[N, K, ...]` adds to the space of those before it, by a factor of their products."""
    rows = gradients.flatten(2)
    product = rows @ rows.mT
    little = ALIKE * product.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    factor = torch.linalg.cholesky(product + little * torch.eye(product.shape[1], device=product.device))
    added: Tensor = torch.linalg.solve_triangular(factor, rows, upper=False)
    return added.view_as(gradients)
