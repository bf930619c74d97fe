"""Odd inputs for the command line, drawn from a seed: files, options, names, configs, checkpoints, outputs.

Each kind is a function of a folder and a random generator that gives the words of a command.
"""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

TOY = ["--inverter", "toy", "--steps", "1"]
LONG = "x" * 300
HUGE = [
    "0",
    "-1",
    "1e400",
    "nan",
    "inf",
    "",
    " ",
    "9" * 30,
    "18446744073709551616",
    "-9" * 20,
    "0x10",
    "1,5",
    "ten",
    "٣",
]
NAMES = [
    "", ".", "/", "..", LONG, "a/" * 3000, "no/such/thing", "toy/", "~nobody/x", "a\nb", "caf\udce9", "\u202e", "🦊",
    "http://127.0.0.1:x/v1#m", "http://[::1/v1#m", "file:///etc", "st:/missing", "hf:/missing", "nobody/nothing\x00",
    "owner/name/more", "-", "--", "%s", "{}", "C:\\x",
]  # fmt: skip
Make = Callable[[Path, random.Random], list[str]]


def array(draw: random.Random) -> np.ndarray:
    """A few vectors of the toy's width, or near it."""
    values = np.random.default_rng(draw.randrange(2**32)).normal(size=(draw.choice([1, 2, 5]), 24))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def write(folder: Path, ending: str, vectors: np.ndarray) -> Path:
    """Vectors as a sound file of that kind."""
    path = folder / f"v{ending}"
    if ending == ".npy":
        np.save(path, vectors)
    elif ending == ".npz":
        np.savez(path, embedding=vectors, text=np.array(["a"] * len(vectors)))
    elif ending == ".jsonl":
        rows = ({"id": str(n), "embedding": row.tolist(), "text": "a\u2028b"} for n, row in enumerate(vectors))
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    elif ending == ".json":
        path.write_text(json.dumps([{"embedding": row.tolist()} for row in vectors]))
    elif ending in (".csv", ".tsv", ".txt"):
        separator = {".csv": ",", ".tsv": "\t", ".txt": " "}[ending]
        path.write_text("".join(separator.join(map(str, row)) + "\n" for row in vectors.tolist()))
    elif ending == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"id": [str(n) for n in range(len(vectors))], "embedding": vectors.tolist()}), path)
    elif ending == ".safetensors":
        from safetensors.numpy import save_file

        save_file({"embedding": vectors}, path)
    else:
        import torch

        torch.save(torch.from_numpy(vectors), path)
    return path


ENDINGS = [".npy", ".npz", ".jsonl", ".json", ".csv", ".tsv", ".txt", ".parquet", ".safetensors", ".pt"]


def damaged(folder: Path, draw: random.Random) -> list[str]:
    """A sound file with some bytes flipped, cut, put in or said over again."""
    path = write(folder, draw.choice(ENDINGS), array(draw))
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice([1, 1, 3, 20])):
        place = draw.randrange(max(1, min(len(content), draw.choice([64, 128, len(content)]))))
        how = draw.randrange(4)
        if how == 0:
            content[place] ^= 1 << draw.randrange(8)
        elif how == 1:
            del content[place:]
        elif how == 2:
            content[place:place] = draw.randbytes(draw.choice([1, 4, 40]))
        else:
            content += content[place:]
        if not content:
            break
    path.write_bytes(content)
    return ["invert", "--vectors", str(path), *TOY]


def misnamed(folder: Path, draw: random.Random) -> list[str]:
    """A sound file under the name of another kind."""
    path = write(folder, draw.choice(ENDINGS), array(draw))
    other = path.with_name(
        f"w{draw.choice([*ENDINGS, '.sql', '.fvecs', '.arrow', '.pkl', '.xyz', '', '.gz', '.ivecs'])}"
    )
    path.rename(other)
    return ["invert", "--vectors", str(other), *TOY]


def shaped(folder: Path, draw: random.Random) -> list[str]:
    """An array of numbers that are none, of another shape, or that declares more than it holds."""
    good = array(draw)
    odd: list[np.ndarray] = [
        good[:, :7], good[:0], good[0], good[None], np.zeros((3, 0)), np.float32(3.0), np.zeros_like(good),
        np.full_like(good, np.nan), good * np.inf, good.astype(complex), good.astype(str), good.astype("S9"),
        good > 0, good.astype(">f8"), (good * 100).astype(np.int8), np.asfortranarray(good), good.astype(np.float16),
        good * 1e30, good * 1e-40, np.repeat(good, 3, 1), (good * 9).astype("timedelta64[s]"),
        np.array([None, {}], dtype=object), (good * 1000).astype(np.int64), (good * 100 + 100).astype(np.uint8),
    ]  # fmt: skip
    path = folder / "v.npy"
    with np.errstate(all="ignore"):
        np.save(path, draw.choice(odd), allow_pickle=True)
    if draw.random() < 0.3:
        np.save(path, good)
        shape = draw.choice(
            ["(400000000, 24)", "(-2, 24)", f"({10**30}, 24)", "(2,)", "()", "('a', 24)", "(2, 24", "2.5"]
        )
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117)[:117] + "\n"
        path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + good.tobytes())
    return ["invert", "--vectors", str(path), *TOY]


def rows(folder: Path, draw: random.Random) -> list[str]:
    """JSON lines and tables whose cells are no vectors."""
    good = array(draw)[0].tolist()
    cells = [
        "9" * 400, "[" * 3000 + "]" * 3000, "null", "{}", "[]", '"text"', '"AAAA"', "true", json.dumps(good[:5]),
        json.dumps([good]), json.dumps([str(x) for x in good]), "[NaN]", json.dumps([*good[:-1], None]), "1",
        json.dumps([*good[:-1], int("9" * 400)]), json.dumps({str(k): x for k, x in enumerate(good)}), '"\\ud800"',
        json.dumps(json.dumps(good)), json.dumps([*good[:-1], 1e39]), '{"values": ' + json.dumps(good) + "}", "",
    ]  # fmt: skip
    field = draw.choice(["embedding", "vector", "x", "id", "", "a.b"])
    lines = [f'{{"{field}": {draw.choice([*cells, json.dumps(good)])}}}' for _ in range(draw.choice([1, 3]))]
    path = folder / draw.choice(["v.jsonl", "v.json", "v.csv", "v.ndjson"])
    text = draw.choice(["\n", "\r\n", "\n\n", ",", "\u2028"]).join(lines)
    path.write_bytes(draw.choice([b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\n"]) + text.encode(errors="surrogatepass"))
    column = draw.choice([[], [], ["--column", draw.choice(["embedding", "a.b", "", "none", "embedding.0"])]])
    return ["invert", "--vectors", str(path), *column, *TOY]


def options(folder: Path, draw: random.Random) -> list[str]:
    """Values of options that are none."""
    path = write(folder, ".npy", array(draw))
    name = draw.choice(
        ["--steps", "--beam", "--seed", "--max-queries", "--max-cost", "--effort", "--device", "--precision"]
    )
    values = {
        "--device": ["meta", "mps", "xla", "cuda:99", "cpu:7", "vulkan", "", "warp", "cuda:x", "privateuseone"],
        "--effort": ["", "heroic", "LOW", LONG, "a\nb"],
        "--precision": [
            "",
            "int3",
            "noise:",
            "noise:nan",
            "noise:-1",
            "x decimals",
            "9" * 40 + " decimals",
            "noise:1e400",
        ],
    }.get(name, [*HUGE, "1000", "1000000"])
    base = ["invert", "--vectors", str(path), "--inverter", "toy"]
    return [*base, *([] if name == "--steps" else ["--steps", "1"]), name, draw.choice(values)]


def names(folder: Path, draw: random.Random) -> list[str]:
    """Names of things that aren't there, or can't be."""
    name = draw.choice(NAMES)
    path = str(write(folder, ".npy", array(draw)))
    return draw.choice(
        [
            ["invert", "--vectors", name, *TOY],
            ["invert", "cafe", "--inverter", name],
            ["invert", "--vectors", path, "--embedder", name, *TOY],
            ["invert", "--vectors", path, "--collection", name, *TOY],
            ["invert", "--vectors", path, "--ranges", name, *TOY],
            ["evaluate", "--data", name, "--inverter", "toy"],
            ["calibrate", name, "--data", path],
            ["calibrate", str(folder), "--data", name],
            ["check", "--", name],
            ["train", name],
            ["import-vec2text", "--inversion", name, "--corrector", name, "--embedder", "minilm", str(folder / "o")],
        ]
    )


def texts(folder: Path, draw: random.Random) -> list[str]:
    """Inputs and files of passages."""
    path = folder / draw.choice(["t.txt", "t.parquet", "t", "t.csv"])
    path.write_bytes(
        draw.choice([b"", b"\n\n", b"cafe\nbad\n", b"\xff\xfe", b"PAR1xxxxPAR1", b"\x00", b"word\r\n" * 3])
    )
    inputs = [draw.choice(["", " ", "zzz", "caf\udce9", "a" * 10_000, "\x00", "🦊", "cafe"]) for _ in range(2)]
    number = draw.choice([*HUGE, "3"])
    return draw.choice(
        [
            ["invert", *TOY, "--", *inputs],
            ["evaluate", "--data", str(path), *TOY],
            ["evaluate", "--data", str(path), "--max-tokens", number, *TOY],
            ["evaluate", "--data", str(path), "--samples", number, *TOY],
            ["invert", "cafe", "--vectors", str(path), *TOY],
        ]
    )


def outputs(folder: Path, draw: random.Random) -> list[str]:
    """Places that results can't go to."""
    path = write(folder, ".npy", array(draw))
    (folder / "mine").mkdir()
    (folder / "mine" / "notes.txt").write_text("kept")
    (folder / "link").symlink_to(folder / "mine")
    (folder / "dangling").symlink_to(folder / "nowhere" / "x")
    (folder / "text").write_text(draw.choice(["notes\n", '{"a": 1}\n', '{"run": "me"}\n', "{"]))
    places = [
        "mine",
        "link",
        "dangling",
        "text",
        "text/x",
        "v.npy",
        "mine/notes.txt",
        "no/r",
        "r.csv",
        LONG,
        "",
        ".",
        "mine/",
    ]
    out = draw.choice([*(str(folder / name) if name else name for name in places), "/dev/full", "/dev/zero", "/proc/x"])
    more = draw.choice([[], ["--restart"], ["--json"]])
    return ["invert", "--vectors", str(path), *TOY, "--out", out, *more]


VALUES = [
    "-1", "0", "1e400", "nan", "true", '"text"', "[]", "{}", "99999999999999999999", "[0, 0]", '""', "0.5", "[1, 2]",
    "-3", "1e30", '"/dev/null/x"', "null",
]  # fmt: skip
KEYS = [
    "steps", "seed", "rate", "warmup", "clip", "round_steps", "guess_steps", "save_every", "evaluate_every", "output",
    "device", "storage", "max_seconds", "recipe.hidden", "recipe.batch", "recipe.device", "recipe.seed", "recipe",
    "evaluate_beam", "evaluate_steps", "modality", "method", "nonsense", "recipe.nonsense", "log_every", "compile",
]  # fmt: skip


def configs(folder: Path, draw: random.Random) -> list[str]:
    """Configs with a value that can't be, or of no grammar."""
    base = {"modality": '"toy"', "output": json.dumps(str(folder / "run")), "steps": "1", "evaluate_every": "99"}
    if draw.random() < 0.5:
        base[draw.choice(KEYS)] = draw.choice(VALUES)
    tables = {key: value for key, value in base.items() if "." in key}
    text = "".join(f"{key} = {value}\n" for key, value in base.items() if "." not in key)
    if tables:
        text += "[recipe]\n" + "".join(f"{key.partition('.')[2]} = {value}\n" for key, value in tables.items())
    path = folder / "c.toml"
    path.write_bytes(text.encode() + draw.choice([b"", b"", b"", b"\xff", b"=", b"steps = 2\n"]))
    words = ["train", str(path)]
    if draw.random() < 0.5:
        words += ["--set", f"{draw.choice(KEYS)}={draw.choice([*VALUES, chr(10), 'a' + chr(10) + 'seed=9', '='])}"]
    if draw.random() < 0.1:
        words += ["--resume"]
    return words


JUNK = [None, "", "x", -1, 0, 1.5, [], {}, True, "9" * 50, [[]], {"a": 1}, 10**30]


def checkpoints(folder: Path, draw: random.Random, trained: Path) -> list[str]:
    """A checkpoint whose manifest or weights were changed."""
    place = folder / "checkpoint"
    shutil.copytree(trained, place)
    path = place / "manifest.json"
    manifest = json.loads(path.read_text())
    how = draw.randrange(5)
    if how == 0:
        content = bytearray(path.read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
    elif how == 1:
        weights = next(place.glob("*.safetensors"))
        content = bytearray(weights.read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        weights.write_bytes(content[: draw.choice([0, len(content) // 2, len(content)])])
    elif how == 2:
        next(place.glob("*.safetensors")).unlink()
    else:
        table = manifest
        while True:
            key = draw.choice(sorted(table))
            if isinstance(table[key], dict) and table[key] and draw.random() < 0.6:
                table = table[key]
                continue
            break
        if how == 3:
            del table[key]
        else:
            table[key] = draw.choice(JUNK)
        path.write_text(json.dumps(manifest))
    return ["invert", "cafe", "--inverter", str(place), "--steps", "1"]


KINDS: dict[str, Make] = {
    "damaged files": damaged,
    "misnamed files": misnamed,
    "arrays": shaped,
    "rows": rows,
    "options": options,
    "names": names,
    "texts": texts,
    "outputs": outputs,
    "configs": configs,
}
