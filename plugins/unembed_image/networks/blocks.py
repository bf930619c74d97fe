"""Residual blocks: convolutions over maps, attention over tokens; both take a condition."""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch._functorch import config as functorch
from torch.nn import functional as F

__all__ = ["Block", "Layer", "compiled", "norm_act"]


class Block(nn.Module):
    """A residual block of two convolutions (He et al. 2016), modulated by a condition (Perez et al. 2018).

    Activations are divided by their RMS over channels (Karras et al. 2018): nothing is shared between images or places,
    and unlike group norms these stay in half precision and channels last.
    """

    def __init__(self, inside: int, outside: int, cond: int | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1)
        self.skip = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1, bias=False)
        self.modulation = None if cond is None else nn.Linear(cond, 2 * outside)
        self.norm_act = norm_act  # to be compiled where that pays
        with torch.no_grad():
            self.conv2.weight.mul_(0.1)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """Maps `[N, inside, h, w]`, condition `[N, cond]`."""
        y = self.conv1(self.norm_act(x))
        if self.modulation is None or cond is None:
            y = self.norm_act(y)
        else:
            y = self.norm_act(y, *self.modulation(cond)[:, :, None, None].chunk(2, 1))
        found: Tensor = self.skip(x) + self.conv2(y)
        return found


def norm_act(x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
    """Maps `[N, C, h, w]` as a convolution takes them: normalised, modulated, activated. All that isn't a product."""
    x = x * (1e-4 + (x * x).mean(1, keepdim=True)).rsqrt().to(x.dtype)
    return F.silu(x if scale is None or shift is None else x * (1 + scale) + shift)


class Layer(nn.Module):
    """Attention and a feed-forward network, conditioned by shifts, scales and gates (Peebles and Xie 2023).

    One product computes the condition for all layers; each adds a table of its own (Chen et al. 2024).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(width // 64, 1)
        self.scale_shift_table = nn.Parameter(torch.zeros(6, width))
        self.qkv_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.train_forward = self._forward  # to be compiled where that pays
        with torch.no_grad():
            self.out_proj.weight.mul_(0.3)
            self.fc2.weight.mul_(0.3)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        """Tokens `[N, L, width]`, condition `[N, 6, width]`."""
        return self.train_forward(x, cond) if torch.is_grad_enabled() else self._forward(x, cond)

    def _forward(self, x: Tensor, cond: Tensor) -> Tensor:
        shift, scale, gate, shift_2, scale_2, gate_2 = (cond + self.scale_shift_table).to(x.dtype)[:, :, None].unbind(1)
        qkv = self.qkv_proj(_rms_norm(x) * (1 + scale) + shift)
        q, k, v = rearrange(qkv, "n l (three h d) -> three n h l d", three=3, h=self.heads)
        heads = F.scaled_dot_product_attention(_rms_norm(q), _rms_norm(k), v)
        x = x + (1 + gate) * self.out_proj(rearrange(heads, "n h l d -> n l (h d)"))
        wide = F.gelu(self.fc1(_rms_norm(x) * (1 + scale_2) + shift_2), approximate="tanh")
        found: Tensor = x + (1 + gate_2) * self.fc2(wide)
        return found


def _rms_norm(x: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:]).to(x.dtype)


def compiled(network: nn.Module) -> None:
    """Compile what bounds training: what memory bounds in maps of any shape, whole layers over tokens.

    That takes some seconds, where a whole network takes a minute for each of its uses.
    """
    functorch.donated_buffer = False  # the editor goes back through one answer many times
    fast = torch.compile(norm_act, dynamic=True)
    for part in network.modules():
        if isinstance(part, Block):
            part.norm_act = fast
        elif isinstance(part, Layer):
            part.train_forward = torch.compile(part._forward)
