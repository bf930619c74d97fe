"""A small CLIP from scratch: open_clip's towers and loss, captions from class names, one GPU and a few minutes.

    pip install 'unembed[image,train]'
    python examples/train_clip_tiny.py --data tiny-imagenet --out runs/clip-tiny [--resume]

The data are parquet files `train*.parquet` and `validation.parquet`: columns `image` (file bytes), `label` and `name`.
The folder `--out` opens as the black box `clip:FOLDER`; its zero-shot accuracy is printed as JSON at the end.
"""

import argparse
import json
import logging
import math
import os
import time
from pathlib import Path

import open_clip
import pyarrow.parquet as pq
import torch
from open_clip.loss import ClipLoss
from open_clip.tokenizer import SimpleTokenizer
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

import unembed
from unembed_image.codec import ImageCodec

SIDE = 64  # of a photograph in pixels
CONTEXT = 32  # tokens of a caption
RESNET = {"layers": [2, 3, 4, 2], "width": 32}
VIT = {"layers": 8, "width": 256, "head_width": 64, "patch_size": 12, "patch_dropout": 0.25}
WAYS = 4  # captions drawn for a class and step
SHARD = 15_000_000  # bytes

log = logging.getLogger("clip-tiny")


def configuration(tower: str, pixels: int) -> dict:
    """open_clip's config: a ModifiedResNet or a ViT over enlarged photographs, and a narrow text tower."""
    model = {
        "embed_dim": 512,
        "vision_cfg": {"image_size": pixels, **(RESNET if tower == "resnet" else VIT)},
        "text_cfg": {"context_length": CONTEXT, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
    }
    look = {"mean": [0.5] * 3, "std": [0.25] * 3, "size": pixels, "mode": "RGB", "interpolation": "bilinear"}
    return {"model_cfg": model, "preprocess_cfg": look}


def read(files: list[Path], most: int | None) -> tuple[Tensor, Tensor, dict[int, str]]:
    """uint8 images, labels and the name of each label."""
    rows = [row for file in files for row in pq.read_table(file).to_pylist()][:most]
    names = {row["label"]: row["name"] for row in rows}
    return (
        ImageCodec(SIDE).encode_uint8([row["image"] for row in rows]),
        torch.tensor([r["label"] for r in rows]),
        names,
    )


def captions(names: list[str]) -> Tensor:
    """Token ids `[C, T, CONTEXT]` of every template for every class."""
    tokenizer = SimpleTokenizer(context_length=CONTEXT)
    return torch.stack([tokenizer([way(name) for way in OPENAI_IMAGENET_TEMPLATES]) for name in names])


def augmented(images: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """A random part of each (at least a fifth of it), mirrored or not, in changed colours: `[N, 3, pixels, pixels]`."""
    count, device = len(images), images.device

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *shape, device=device, generator=generator) * (high - low) + low

    area, ratio = draw(0.2, 1), draw(-1, 1).mul(math.log(4 / 3)).exp()
    wide, high = (area * ratio).sqrt().clamp_max(1), (area / ratio).sqrt().clamp_max(1)
    mirror = torch.where(draw(0, 1) < 0.5, -1.0, 1.0)
    x, y = draw(-1, 1) * (1 - wide), draw(-1, 1) * (1 - high)
    none = torch.zeros_like(x)
    place = torch.stack([torch.stack([wide * mirror, none, x], -1), torch.stack([none, high, y], -1)], 1)
    grid = F.affine_grid(place, (count, 3, pixels, pixels), align_corners=False)
    out = F.grid_sample(images.float() / 255, grid, padding_mode="reflection", align_corners=False)
    grey = out.mean(1, keepdim=True)
    out = grey + (out - grey) * draw(0.6, 1.4, 1, 1, 1)  # saturation
    middle = out.mean((1, 2, 3), keepdim=True)
    out = middle + (out - middle) * draw(0.6, 1.4, 1, 1, 1)  # contrast
    return (out * draw(0.6, 1.4, 1, 1, 1) + draw(-0.05, 0.05, 3, 1, 1)).clamp(0, 1)


class Training:
    """Everything that a killed run goes on from: model, optimizer, seconds and steps."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.device = options, torch.device(options.device)
        self.config = configuration(options.tower, options.pixels)
        files = sorted(options.data.glob("train*.parquet"))[: options.files]
        images, labels, names = read(files, options.images)
        self.images, self.classes = images.to(self.device), sorted(names)
        self.names = [names[label] for label in self.classes]
        self.captions = captions(self.names).to(self.device)
        places = [(labels == label).nonzero().flatten() for label in self.classes]
        self.counts = torch.tensor([len(rows) for rows in places], device=self.device)
        self.rows = torch.nn.utils.rnn.pad_sequence(places, batch_first=True).to(self.device)
        torch.manual_seed(options.seed)
        torch.set_float32_matmul_precision("high")
        model = open_clip.CLIP(**self.config["model_cfg"]).to(self.device, memory_format=torch.channels_last)
        self.model = model
        decayed = [p for p in model.parameters() if p.ndim > 1]
        others = [p for p in model.parameters() if p.ndim < 2]
        groups = [{"params": decayed, "weight_decay": options.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98), fused=self.device.type == "cuda")
        self.step, self.seconds = 0, 0.0
        self.state = options.out.with_name(options.out.name + ".state.pt")
        if options.resume and self.state.exists():
            state = torch.load(self.state, map_location=self.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds = state["step"], state["seconds"]
            log.info("resumed at step %d, %.0f s", self.step, self.seconds)

    def save_state(self) -> None:
        self.state.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.state.with_suffix(".tmp")
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save({**state, "step": self.step, "seconds": self.seconds}, temporary)
        os.replace(temporary, self.state)

    def loss(self, generator: torch.Generator) -> Tensor:
        """Each group has every class once, so that no caption is right for two of its images."""
        groups, classes = self.options.groups, len(self.names)

        def index(limit: Tensor, *shape: int) -> Tensor:
            return (torch.rand(*shape, device=self.device, generator=generator) * limit).long()

        every = torch.arange(classes, device=self.device)
        pick = self.rows[every, index(self.counts, groups, classes)]  # [groups, classes]
        pixels = augmented(self.images[pick.flatten()], self.options.pixels, generator)
        inputs = ((pixels - 0.5) / 0.25).contiguous(memory_format=torch.channels_last)
        way = index(torch.tensor(self.captions.shape[1], device=self.device), WAYS, classes)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            seen = self.model.encode_image(inputs, normalize=True)
            told = self.model.encode_text(self.captions[every, way].flatten(0, 1), normalize=True)
        seen, told = seen.float().unflatten(0, (groups, classes)), told.float().unflatten(0, (WAYS, classes))
        scale, contrast = self.model.logit_scale.exp(), ClipLoss()
        return torch.stack([contrast(seen[g], told[g % WAYS], scale) for g in range(groups)]).mean()

    def run(self) -> None:
        began, before, shown, saved = time.monotonic(), self.seconds, -1e9, time.monotonic()
        steps = self.options.steps or math.inf
        self.model.train()
        while (progress := max(self.seconds / self.options.seconds, self.step / steps)) < 1:
            generator = torch.Generator(self.device).manual_seed(self.options.seed * 10**6 + self.step)
            factor = min(1.0, (self.step + 1) / 200) * (1 + math.cos(math.pi * progress)) / 2
            for group in self.optimizer.param_groups:
                group["lr"] = self.options.rate * factor
            loss = self.loss(generator)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            with torch.no_grad():
                self.model.logit_scale.clamp_(0, math.log(100))
            self.step += 1
            if self.step % 20 == 0 or self.device.type == "cpu":
                value = loss.item()  # waits for the device, so that the clock is right
                self.seconds = before + time.monotonic() - began
                if self.seconds - shown > 10:
                    shown, rate = self.seconds, self.step * self.options.groups * len(self.names) / self.seconds
                    log.info("step %d  %.0f s  loss %.3f  %.0f images/s", self.step, self.seconds, value, rate)
            if time.monotonic() - saved > self.options.save_seconds:
                self.save_state()
                saved = time.monotonic()
        self.save_state()

    def export(self) -> None:
        """open_clip's config and the weights, matrices in half precision, in files small enough for any repository."""
        folder, shards, filled = self.options.out, [{}], 0
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("open_clip_model*.safetensors"):
            old.unlink()
        for name, tensor in self.model.state_dict().items():
            kept = (tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor).cpu().contiguous()
            if filled + kept.nbytes > SHARD:
                shards.append({})
                filled = 0
            shards[-1][name], filled = kept, filled + kept.nbytes
        for number, shard in enumerate(shards, 1):
            save_file(shard, folder / f"open_clip_model-{number:05}-of-{len(shards):05}.safetensors")
        (folder / "open_clip_config.json").write_text(json.dumps(self.config, indent=1) + "\n")
        for path in folder.iterdir():
            path.chmod(0o644)

    @torch.inference_mode()
    def zero_shot(self) -> dict[str, float]:
        """Accuracy on the validation photographs of the folder as it was written (Radford et al. 2021, section 3.1)."""
        images, labels, _ = read([self.options.data / "validation.parquet"], self.options.images)
        known = torch.isin(labels, torch.tensor(self.classes))
        images, labels = images[known], torch.searchsorted(torch.tensor(self.classes), labels[known])
        box = unembed.load_embedder(f"clip:{self.options.out}", device=self.device)
        told = [box.backbone.model.encode_text(rows, normalize=True).mean(0) for rows in self.captions]
        classes = F.normalize(torch.stack(told), dim=-1)
        seen = torch.cat([box.embed(part.float() / 255) for part in images.split(256)])
        best = (seen @ classes.T).topk(min(5, len(classes))).indices.cpu()
        hits = best == labels[:, None]
        return {"n": len(labels), "top1": hits[:, 0].float().mean().item(), "top5": hits.any(1).float().mean().item()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/clip-tiny"))
    parser.add_argument("--files", type=int, help="use the first so many train*.parquet; others stay unseen")
    parser.add_argument("--tower", choices=("resnet", "vit"), default="resnet")
    parser.add_argument("--pixels", type=int, default=96, help="side that photographs are enlarged to")
    parser.add_argument("--seconds", type=float, default=120, help="training time in all")
    parser.add_argument("--steps", type=int, help="at most so many steps")
    parser.add_argument("--groups", type=int, default=3, help="images of each class in a step")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=0.2)
    parser.add_argument("--images", type=int, help="use the first so many only")
    parser.add_argument("--save-seconds", type=float, default=30)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    log.setLevel(logging.INFO)
    training = Training(options)
    training.run()
    training.export()
    size = sum(path.stat().st_size for path in options.out.iterdir())
    found = {**training.zero_shot(), "classes": len(training.names), "steps": training.step, "bytes": size}
    parameters = sum(p.numel() for p in training.model.visual.parameters())
    (options.out / "quality.json").write_text(json.dumps({**found, "image_parameters": parameters}) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
