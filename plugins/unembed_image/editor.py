"""Small changes of an image and their best combination: how a search goes on where corrections stall.

A student's gradient says less and less about the black box, the further a search has followed it. So the black box is
asked about many small changes of one image, and as each answer is a whole vector, they tell what any combination of
these changes would do, as long as changes are small: Gauss and Newton's method on differences (Cartis and Roberts
2019), in the space that the changes span (the same 2023), damped (Levenberg 1944).
"""

import torch
from torch import Tensor

from unembed.interfaces import Editor
from unembed_image.codec import levels
from unembed_image.network import ImageNetwork
from unembed_image.proposals import halved, smoothed, unit

__all__ = ["Edit"]

SIZE = 0.00125  # RMS of a change, the levels going from 0 to 1: less than half of one
LIGHTEST, HEAVIEST = 0.05, 6.4  # damping, over the mean square length of what the changes do to the embedding


class Edit(Editor):
    """Changes that the student of the black box finds to matter, in random proportions, and sums of them.

    A change is the student's gradient of a random mixture of what the embedding still lacks.
    """

    reach = 1

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
                said = network.coordinates(network.answers(image), target, log=True)
            edits = []
            for number in range(count):
                weight = lacks * torch.randn(lacks.shape, device=lacks.device, generator=generator)
                more = number + 1 < count
                (gradient,) = torch.autograd.grad((said * weight).sum(), image, retain_graph=more)
                edits.append(levels(hypothesis + SIZE * unit(smoothed(gradient.float()))))
        return torch.stack(edits, 1)

    def _combine(
        self, target: Tensor, hypothesis: Tensor, embedding: Tensor, edits: Tensor, answers: Tensor, count: int
    ) -> Tensor:
        network = self.network
        reached = network.coordinates(embedding, target)
        wanted = network.coordinates(target, target) - reached
        moved = network.coordinates(answers, target[:, None]) - reached[:, None]
        changes = (edits - hypothesis[:, None]).flatten(2)
        product = moved @ moved.mT
        number = changes.any(2).sum(1)  # the rest is the hypothesis
        scale = (product.diagonal(dim1=1, dim2=2).sum(1) / number.clamp_min(1)).clamp_min(1e-12)
        damping = torch.logspace(0, 1, count, base=HEAVIEST / LIGHTEST, device=target.device) * LIGHTEST
        damping = (damping * scale[:, None])[..., None, None] * torch.eye(product.shape[1], device=target.device)
        gain = (moved @ wanted[..., None])[:, None].expand(-1, count, -1, -1)
        # By Cholesky's factors: MKL's LU has failed on some of these with several threads.
        share = torch.cholesky_solve(gain, torch.linalg.cholesky(product[:, None] + damping))[..., 0]
        return levels(hypothesis[:, None] + (share @ changes).unflatten(2, hypothesis.shape[1:]))
