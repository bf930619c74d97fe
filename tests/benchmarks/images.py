"""EfficientNet-Lite0 on real photographs of 64 × 64 pixels, right and fast: `python … [PARQUET [COUNT]]`."""

import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import timm
import torch

import unembed
from unembed_image.codec import ImageCodec

DATA = Path(__file__).parents[3] / "shared/data/tiny-imagenet/validation.parquet"


def main(data: Path, count: int) -> None:
    if not data.is_file():
        print(f"no {data}: name a parquet file with columns image and wnid")
        return
    place = {wnid: number for number, wnid in enumerate(timm.data.ImageNetInfo().label_names())}
    rows = [row for row in pq.read_table(data).to_pylist() if row["wnid"] in place][:count]
    labels = torch.tensor([place[row["wnid"]] for row in rows])[:, None]
    signals = ImageCodec(64).encode([row["image"] for row in rows])
    box = unembed.load_embedder("efficientnet-lite0:probs")
    began = time.monotonic()
    best = torch.cat([box.embed(part).cpu() for part in signals.split(64)]).topk(5).indices
    seconds = time.monotonic() - began
    top1, top5 = ((best[:, :top] == labels).any(1).float().mean().item() for top in (1, 5))
    print(f"{len(rows)} photographs: top-1 {top1:.1%}, top-5 {top5:.1%}, {len(rows) / seconds:.0f} a second")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else DATA, int(sys.argv[2]) if sys.argv[2:] else 600)
