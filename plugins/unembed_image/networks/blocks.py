"""Residual blocks: convolutions over maps, attention over tokens; both may be told something."""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch._functorch import config as functorch
from torch.nn import functional as F

__all__ = ["Block", "Layer", "compiled", "ready"]


class Block(nn.Module):
    """A residual block of two convolutions (He et al. 2016), modulated by what it is told (Perez et al. 2018).

    Activations are divided by their RMS over channels (Karras et al. 2018): nothing is shared between images or places,
    and unlike group norms these stay in half precision and channels last.
    """

    def __init__(self, inside: int, outside: int, told: int | None = None) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, padding=1)
        self.second = nn.Conv2d(outside, outside, 3, padding=1)
        self.skip = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1, bias=False)
        self.tell = None if told is None else nn.Linear(told, 2 * outside)
        self.ready = ready  # to be compiled where that pays
        with torch.no_grad():
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor, told: Tensor | None = None) -> Tensor:
        """Maps `[N, inside, h, w]`, told `[N, told]`."""
        y = self.first(self.ready(x))
        if self.tell is None or told is None:
            y = self.ready(y)
        else:
            y = self.ready(y, *self.tell(told)[:, :, None, None].chunk(2, 1))
        found: Tensor = self.skip(x) + self.second(y)
        return found


def ready(x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
    """Maps `[N, C, h, w]` as a convolution takes them: normalised, modulated, activated. All that isn't a product."""
    x = x * (1e-4 + (x * x).mean(1, keepdim=True)).rsqrt().to(x.dtype)
    return F.silu(x if scale is None or shift is None else x * (1 + scale) + shift)


class Layer(nn.Module):
    """Attention and a feed-forward network, told by shifts, scales and gates (Peebles and Xie 2023).

    What is told comes from one product for all layers; each adds a table of its own (Chen et al. 2024).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(width // 64, 1)
        self.table = nn.Parameter(torch.zeros(6, width))
        self.ask = nn.Linear(width, 3 * width)
        self.answer = nn.Linear(width, width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.learn = self._run  # to be compiled where that pays
        with torch.no_grad():
            self.answer.weight.mul_(0.3)
            self.narrow.weight.mul_(0.3)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """Tokens `[N, L, width]`, told `[N, 6, width]`."""
        return self.learn(x, told) if torch.is_grad_enabled() else self._run(x, told)

    def _run(self, x: Tensor, told: Tensor) -> Tensor:
        shift, scale, gate, shift_2, scale_2, gate_2 = (told + self.table).to(x.dtype)[:, :, None].unbind(1)
        asked = self.ask(_normal(x) * (1 + scale) + shift)
        q, k, v = rearrange(asked, "n l (three h d) -> three n h l d", three=3, h=self.heads)
        found = F.scaled_dot_product_attention(_normal(q), _normal(k), v)
        x = x + (1 + gate) * self.answer(rearrange(found, "n h l d -> n l (h d)"))
        wide = F.gelu(self.widen(_normal(x) * (1 + scale_2) + shift_2), approximate="tanh")
        return x + (1 + gate_2) * self.narrow(wide)


def _normal(x: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:]).to(x.dtype)


def compiled(network: nn.Module) -> None:
    """Compile what bounds training: what memory bounds in maps of any shape, whole layers over tokens.

    That takes some seconds, where a whole network takes a minute for each of its uses.
    """
    functorch.donated_buffer = False  # the editor goes back through one answer many times
    fast = torch.compile(ready, dynamic=True)
    for part in network.modules():
        if isinstance(part, Block):
            part.ready = fast
        elif isinstance(part, Layer):
            part.learn = torch.compile(part._run)
