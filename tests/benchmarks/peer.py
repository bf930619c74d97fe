"""Times and memory against vec2text 0.0.13: the same weights, texts and machine, each side in a process of its own.

    python tests/benchmarks/peer.py                    # the reference checkpoint, where it is
    python tests/benchmarks/peer.py --weights random   # T5-base-sized random weights: the pure cost of a step
    python tests/benchmarks/peer.py --device cuda --texts 256

The peer gets an environment of its own, under runs/, made on first use with the versions that it works with; torch is
that of this environment, so that both sides compute with the same kernels. Its metrics are a stub, since loading them
wants the network, and so are the hub's models, which are read from folders. Similarities are measured by our
embedder, which the tests hold to the peer's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PEER = ROOT / "runs" / "vec2text-peer"
REFERENCE = ROOT.parent / "shared" / "reference" / "vec2text-checkpoint"
TOKENIZER = ROOT.parent / "shared" / "models" / "t5-small" / "tokenizer.json"
# What vec2text 0.0.13 asks for, less what only its training and metrics use.
PACKAGES = [
    "vec2text==0.0.13", "transformers==4.44.2", "sentence-transformers==3.0.1", "datasets==2.20.0",
    "accelerate==0.33.0", "numpy<2", "pyarrow==16.1.0", "tokenizers<0.20", "huggingface_hub<0.26", "fsspec<=2024.5.0",
    "dill<0.3.9", "multiprocess<0.70.17", "xxhash", "pandas<2.3", "pytz", "python-dateutil", "six", "tzdata", "aiohttp",
    "aiosignal", "frozenlist", "multidict", "yarl", "propcache", "attrs", "aiohappyeyeballs", "requests", "urllib3",
    "charset-normalizer", "certifi", "evaluate", "pyarrow-hotfix", "responses", "nltk",
    "scipy<1.15", "scikit-learn<1.6",
    "joblib", "threadpoolctl", "tenacity", "openai<2", "jiter", "sniffio", "distro", "httpx<1", "httpcore<2",
    "safetensors", "regex", "einops", "rouge_score", "absl-py", "bert_score", "matplotlib", "setuptools<80",
]  # fmt: skip
SETTINGS = {"0": (0, 1), "1": (1, 1), "5": (5, 1), "8x8": (8, 8), "50x8": (50, 8)}


def make_peer() -> Path:
    """The python of the peer's environment."""
    python = PEER / "bin" / "python"
    if (PEER / "ready").is_file():
        return python
    subprocess.run([sys.executable, "-m", "venv", str(PEER)], check=True)
    site = next((PEER / "lib").glob("python*")) / "site-packages"
    import torch

    # After its own packages, so that only what it lacks comes from here.
    (site / "zz-torch.pth").write_text(f"{Path(torch.__file__).parents[1]}\n")
    subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--ignore-installed", *PACKAGES], check=True
    )
    (PEER / "ready").touch()
    return python


def random_pair(folder: Path) -> None:
    """A pair of T5-base's size with random weights, its T5 and an embedder of GTR-base's size, as published."""
    import torch
    from safetensors.torch import save_file
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel, T5ForConditionalGeneration

    torch.manual_seed(0)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(TOKENIZER), pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=128
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
        known = json.loads((REFERENCE / name / "config.json").read_text()) if REFERENCE.is_dir() else {}
        (folder / name / "config.json").write_text(json.dumps(known | config | {"torch_dtype": "float32"}))


def run_peer(job: dict[str, Any]) -> dict[str, Any]:
    """vec2text's side, in its own environment."""
    folder = Path(job["folder"])
    import evaluate
    import torch
    import transformers

    evaluate.load = lambda *args, **kwargs: None
    auto = transformers.AutoModelForSeq2SeqLM
    encoder, tokenizer = transformers.T5EncoderModel, transformers.PreTrainedTokenizerFast
    auto.from_pretrained = lambda *args, **kwargs: transformers.T5ForConditionalGeneration(
        transformers.T5Config.from_pretrained(folder / "t5")
    )
    transformers.AutoModel.from_pretrained = lambda *args, **kwargs: encoder(
        transformers.T5Config.from_pretrained(folder / "embedder")
    )
    transformers.AutoTokenizer.from_pretrained = lambda *args, **kwargs: tokenizer.from_pretrained(folder / "t5")
    import vec2text

    torch.set_num_threads(job["threads"])
    inversion = vec2text.models.InversionModel.from_pretrained(folder / "inversion", torch_dtype=torch.float32)
    corrector = vec2text.models.CorrectorEncoderModel.from_pretrained(folder / "corrector", torch_dtype=torch.float32)
    for model in (inversion, corrector):
        model.encoder_decoder.tie_weights()
        model.to(job["device"]).eval()
    trainer = vec2text.load_corrector(inversion, corrector)
    vectors = torch.tensor(job["vectors"], device=job["device"])

    def invert(steps: int, beam: int) -> list[str]:
        found: list[str] = []
        for part in vectors.split(job["batch"]):
            with torch.autocast(job["device"], torch.bfloat16, enabled=job["device"] == "cuda"), torch.no_grad():
                found += vec2text.invert_embeddings(
                    part, trainer, num_steps=steps or None, sequence_beam_width=beam if beam > 1 else 0
                )
        return found

    return timed(job, invert)


def run_ours(job: dict[str, Any]) -> dict[str, Any]:
    """Our side, with the checkpoint already imported."""
    import torch

    import unembed

    torch.set_num_threads(job["threads"])
    inverter = unembed.load(job["imported"], device=job["device"])
    vectors = torch.tensor(job["vectors"])
    made = {"steps": 0.0}

    def invert(steps: int, beam: int) -> list[str]:
        found = inverter.invert(vectors, steps=steps, beam=beam, chunk_size=job["batch"] * beam)
        made["steps"] = found.steps.float().mean().item()
        return found.objects

    return timed(job, invert, made)


def timed(job: dict[str, Any], invert: Any, made: dict[str, float] | None = None) -> dict[str, Any]:
    """Seconds, texts and peak memory of every setting, the first run once more to warm up."""
    steps, beam = job["settings"][next(iter(job["settings"]))]
    invert(steps, beam)
    rows = {}
    for name, (steps, beam) in job["settings"].items():
        began = time.perf_counter()
        texts = invert(steps, beam)
        seconds = time.perf_counter() - began
        rows[name] = {"seconds": seconds, "texts": texts, "peak_gb": peak(), "steps": made["steps"] if made else steps}
    return rows


def peak() -> float:
    """Most memory of this process so far, in GB; getrusage would count that of the one that started it."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) / 2**20 for line in lines if line.startswith("VmHWM")), float("nan"))


def compare(job: dict[str, Any], inverter: Any) -> None:
    """Run both sides and print a row a setting."""
    import torch

    from unembed import cosine

    sides = {}
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "WANDB_DISABLED": "true", "TOKENIZERS_PARALLELISM": "false"}
    quiet["PYTHONWARNINGS"] = "ignore"
    for side, python in (("peer", make_peer()), ("ours", Path(sys.executable))):
        with tempfile.TemporaryDirectory() as place:
            (Path(place) / "job.json").write_text(json.dumps(job))
            subprocess.run(
                [str(python), __file__, "--side", side, "--place", place],
                check=True, env=quiet, stdout=subprocess.DEVNULL, cwd=place,
            )  # fmt: skip
            sides[side] = json.loads((Path(place) / "found.json").read_text())
    vectors = torch.tensor(job["vectors"])
    print(f"{len(vectors)} texts on {job['device']}, {job['threads']} threads; vec2text 0.0.13 | unembed")
    print("| setting | seconds | ratio | steps made | similarity | peak memory, GB |\n|---|---|---|---|---|---|")
    for name in job["settings"]:
        a, b = sides["peer"][name], sides["ours"][name]
        near = [cosine(vectors, inverter.embedder.texts.embed_texts(x["texts"])).mean().item() for x in (a, b)]
        print(
            f"| {name} | {a['seconds']:.2f} / {b['seconds']:.2f} | {a['seconds'] / b['seconds']:.1f}× | "
            f"{a['steps']:.1f} / {b['steps']:.1f} | {near[0]:.4f} / {near[1]:.4f} | "
            f"{a['peak_gb']:.2f} / {b['peak_gb']:.2f} |"
        )


def main() -> None:
    """Set up the weights, embed the texts, compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", choices=["reference", "random"], default="reference")
    parser.add_argument("--settings", default=None, help=f"some of {','.join(SETTINGS)}")
    parser.add_argument("--texts", type=int, default=None)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--side", choices=["peer", "ours"])
    parser.add_argument("--place", type=Path)
    options = parser.parse_args()
    if options.side:
        job = json.loads((options.place / "job.json").read_text())
        rows = {"peer": run_peer, "ours": run_ours}[options.side](job)
        (options.place / "found.json").write_text(json.dumps(rows))
        return
    if not REFERENCE.is_dir():
        sys.exit("the comparison needs the reference data, which isn't here")
    import torch

    import unembed
    from unembed_text.vec2text.importing import import_pair

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as place:
        folder = REFERENCE
        if options.weights == "random":
            folder = Path(place) / "random"
            folder.mkdir()
            random_pair(folder)
        imported = Path(place) / "imported"
        halves = (str(folder / "inversion"), str(folder / "corrector"))
        import_pair(*halves, imported, embedder=str(folder / "embedder"), device=torch.device("cpu"))
        inverter = unembed.load(str(imported), device="cpu")
        texts = json.loads((REFERENCE / "expected.json").read_text())["texts"]
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
            "batch": options.batch,
        }
        compare(job, inverter)


if __name__ == "__main__":
    main()
