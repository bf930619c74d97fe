"""Times and memory against vec2text 0.0.13: the same weights, texts and machine, each side in a process of its own.

    python tests/benchmarks/peer.py                    # the reference checkpoint, where it is
    python tests/benchmarks/peer.py --weights random   # T5-base-sized random weights: the pure cost of a step
    python tests/benchmarks/peer.py --device cuda --texts 256 --limit 60

The peer's packages lie in a folder of their own, runs/vec2text-peer, which pip fills on first use; `--peer DIR` names
one that is there already, say for a machine without a network. torch is that of this environment, so that both sides
compute with the same kernels. What the peer imports for its training and metrics alone is a stub, and so are the
hub's models, which are read from folders. The reference checkpoint and T5's tokenizer are looked for beside the
repository, or where `--checkpoint DIR` and `--tokenizer FILE` say.

Two times are ours. "Same work" corrects every text in every round and embeds every candidate, as the peer does:
nothing is solved, given up or met before. "As shipped" is `Inverter.invert`. On a GPU the first has the embedder in
bfloat16 too, as the peer has; the second embeds in float32. The peer runs in bfloat16 there; `--peer-precision` says
whether its weights are cast or autocast does it, or in float32. Each side warms up before each setting with up to two
of its steps, and halves its batches where memory runs out. Similarities are measured by our embedder in float32, which
the tests hold to the peer's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import peer_sides

ROOT = Path(__file__).parents[2]
PEER = ROOT / "runs" / "vec2text-peer"
REFERENCE = ROOT.parent / "shared" / "reference" / "vec2text-checkpoint"
TOKENIZER = ROOT.parent / "shared" / "models" / "t5-small" / "tokenizer.json"
# What vec2text 0.0.13 asks for, less the stubs and what comes with torch and transformers.
PACKAGES = [
    "vec2text==0.0.13", "transformers==4.44.2", "tokenizers==0.19.1", "huggingface_hub==0.25.2", "accelerate==0.33.0",
    "numpy==1.26.4", "safetensors", "regex", "fsspec", "requests", "urllib3", "charset-normalizer", "certifi",
    "tenacity",
]  # fmt: skip
SETTINGS = {"0": (0, 1), "1": (1, 1), "5": (5, 1), "8x8": (8, 8), "50x8": (50, 8)}


def make_peer() -> Path:
    """The folder of the peer's packages."""
    if not (PEER / "ready").is_file():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", str(PEER)]
        subprocess.run([*pip, *PACKAGES], check=True)
        (PEER / "ready").touch()
    return PEER


def random_pair(folder: Path, checkpoint: Path, tokenizer_file: Path) -> None:
    """A pair of T5-base's size with random weights, its T5 and an embedder of GTR-base's size, as published."""
    import torch
    from safetensors.torch import save_file
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel, T5ForConditionalGeneration

    torch.manual_seed(0)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(tokenizer_file), pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=128
    )
    shape = {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12, "vocab_size": 32128}
    for name, model in (("t5", T5ForConditionalGeneration), ("embedder", T5EncoderModel)):
        made = model(T5Config(**shape, decoder_start_token_id=0))
        if name == "t5":
            # Spread out as a trained one's are, so that texts differ; ends are as likely as any token.
            made.shared.weight.data.mul_(3)
        made.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    t5 = T5ForConditionalGeneration.from_pretrained(folder / "t5").state_dict()
    embedder = T5EncoderModel.from_pretrained(folder / "embedder").state_dict()
    skip = ("embed_tokens.weight", "lm_head.weight")
    base = {f"encoder_decoder.{key}": value for key, value in t5.items() if not key.endswith(skip)}
    own = {f"embedder.{key.removeprefix('encoder.')}": x for key, x in embedder.items() if "shared" not in key}
    own["embedder.embed_tokens.weight"] = embedder["shared.weight"]
    config = {"embedder_model_name": "gtr_base", "max_seq_length": 32, "num_repeat_tokens": 16}
    for name, transforms in (("inversion", ("",)), ("corrector", ("_1", "_2", "_3"))):
        state = {key: value.clone() for key, value in base.items()}
        for transform in transforms:
            for layer, rows in (("0", 768), ("3", 16 * 768)):
                state[f"embedding_transform{transform}.{layer}.weight"] = torch.randn(rows, 768) / 768**0.5
                state[f"embedding_transform{transform}.{layer}.bias"] = torch.zeros(rows)
        if name == "corrector":
            state |= {"layernorm.weight": torch.ones(768), "layernorm.bias": torch.zeros(768)}
        else:
            state |= {key: value.clone() for key, value in own.items()}
        (folder / name).mkdir()
        save_file(state, folder / name / "model.safetensors", metadata={"format": "pt"})
        known = json.loads((checkpoint / name / "config.json").read_text())
        (folder / name / "config.json").write_text(json.dumps(known | config | {"torch_dtype": "float32"}))


def compare(job: dict[str, Any], inverter: Any, site: Path) -> None:
    """Run all sides and print a row a setting."""
    import torch

    from unembed import cosine

    sides = {}
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "WANDB_DISABLED": "true", "USE_TF": "0", "USE_FLAX": "0"}
    quiet |= {"TOKENIZERS_PARALLELISM": "true" if job["threads"] > 1 else "false", "PYTHONWARNINGS": "ignore"}
    for side in peer_sides.SIDES:
        paths = [str(site)] if side == "peer" else []
        path = os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])])
        with tempfile.TemporaryDirectory() as place:
            (Path(place) / "job.json").write_text(json.dumps(job | {"side": side}))
            subprocess.run(
                [sys.executable, peer_sides.__file__, side, place],
                check=True, env=quiet | {"PYTHONPATH": path}, stdout=subprocess.DEVNULL, cwd=place,
            )  # fmt: skip
            sides[side] = json.loads((Path(place) / "found.json").read_text())
    vectors = torch.tensor(job["vectors"], device=inverter.embedder.device)

    def near(row: dict[str, Any]) -> str:
        if row["texts"] is None:
            return "–"
        return f"{cosine(vectors, inverter.embedder.texts.embed_texts(row['texts'])).mean().item():.4f}"

    print(
        f"{len(vectors)} texts on {device_name(job['device'])}, {job['threads']} threads, batches of {job['batch']}; "
        f"vec2text 0.0.13 ({job['precision']}) | unembed, same work | unembed, as shipped"
    )
    print("| setting | seconds | ratio | rounds as shipped | similarity | peak memory, GB |\n|---|---|---|---|---|---|")
    for name in job["settings"]:
        peer, *ours = rows = [row[name] for row in sides.values()]
        seconds = " / ".join(f"{'' if row['texts'] else '> '}{row['seconds']:.2f}" for row in rows)
        over = "" if peer["texts"] else "> "
        ratio = " / ".join(f"{over}{peer['seconds'] / x['seconds']:.1f}×" if x["texts"] else "–" for x in ours)
        made = "–" if ours[-1]["steps"] is None else f"{ours[-1]['steps']:.1f}"
        peaks = " / ".join(f"{row['peak_gb']:.2f}" for row in rows)
        print(f"| {name} | {seconds} | {ratio} | {made} | {' / '.join(map(near, rows))} | {peaks} |")


def device_name(device: str) -> str:
    """What the device calls itself."""
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else device


def main() -> None:
    """Set up the weights, embed the texts, compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", choices=["reference", "random"], default="reference")
    parser.add_argument("--settings", default=None, help=f"some of {','.join(SETTINGS)}")
    parser.add_argument("--texts", type=int, default=None)
    parser.add_argument("--batch", type=int, default=None, help="texts at once; 64 on a CPU, all on a GPU")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--limit", type=float, default=None, help="most seconds for a run of a setting, and for its warm-up"
    )
    parser.add_argument("--repeat", type=int, default=1, help="runs of a setting, of which the median counts")
    parser.add_argument("--peer", type=Path, default=None, help="a folder with the peer's packages")
    parser.add_argument("--peer-precision", choices=["bfloat16", "autocast", "float32"], default=None)
    parser.add_argument("--matmul", choices=["highest", "medium"], default="highest", help="float32, as torch has it")
    parser.add_argument("--checkpoint", type=Path, default=REFERENCE)
    parser.add_argument("--tokenizer", type=Path, default=TOKENIZER)
    options = parser.parse_args()
    if options.repeat < 1:
        parser.error("--repeat must be at least 1")
    if not options.checkpoint.is_dir():
        sys.exit(f"the comparison needs the reference checkpoint, which isn't at {options.checkpoint}: --checkpoint")
    if options.weights == "random" and not options.tokenizer.is_file():
        sys.exit(f"random weights need T5's tokenizer, which isn't at {options.tokenizer}: --tokenizer")
    if options.peer is not None and not (options.peer / "vec2text").is_dir():
        sys.exit(f"--peer: {options.peer} is no folder with the package vec2text")
    site = (options.peer or make_peer()).resolve()
    import torch

    import unembed
    from unembed_text.methods.vec2text.importing import import_pair

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as place:
        folder = options.checkpoint.resolve()
        if options.weights == "random":
            folder = Path(place) / "random"
            folder.mkdir()
            random_pair(folder, options.checkpoint, options.tokenizer)
        imported = Path(place) / "imported"
        halves = (str(folder / "inversion"), str(folder / "corrector"))
        import_pair(*halves, imported, embedder=str(folder / "embedder"), device=torch.device("cpu"))
        inverter = unembed.load(str(imported), device=options.device)
        texts = json.loads((options.checkpoint / "expected.json").read_text())["texts"]
        count = options.texts or (len(texts) if options.weights == "reference" else 1)
        vectors = inverter.embed((texts * -(-count // len(texts)))[:count])
        default = "0,1,5,8x8,50x8" if options.weights == "reference" else "0,1,5"
        names = (options.settings or default).split(",")
        job = {
            "folder": str(folder),
            "imported": str(imported),
            "vectors": vectors.tolist(),
            "settings": {name: SETTINGS[name] for name in names},
            "device": options.device,
            "threads": options.threads,
            "batch": options.batch or (64 if options.device == "cpu" else count),
            "limit": options.limit,
            "repeat": options.repeat,
            "matmul": options.matmul,
            "precision": options.peer_precision or ("float32" if options.device == "cpu" else "bfloat16"),
        }
        compare(job, inverter, site)


if __name__ == "__main__":
    main()
