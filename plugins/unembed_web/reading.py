"""What visitors bring: pasted numbers, and files of vectors.

A file is read in a process of its own (`python -m unembed_web.reading`), which may take little memory and time: what
is packed to burst, or makes a reader crash, doesn't take the page with it. Only the core's readers of files are asked,
none of which unpickles; checkpoints of torch, which are pickles inside, are refused.
"""

import asyncio
import base64
import binascii
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unembed.errors import InputError, UnembedError, brief

__all__ = ["pasted", "read_file", "vector_of", "written"]

FEWEST = 16  # numbers in a row that are a vector, and no text
MOST = 100  # vectors of a file that the page can choose from
WIDEST = 65_536
MEMORY, SECONDS = 4 * 2**30, 30
ENDING = re.compile(r"(\.[a-z0-9]{1,12}){1,2}$")
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".joblib")


def pasted(text: str) -> NDArray[np.float32] | None:
    """The numbers of a text that holds nothing else, as one vector; None for a text that is to be taken as it stands.

    They may stand in brackets, with commas or spaces between them. Of a list of lists the first is taken.
    """
    bare = text.strip()
    if not bare or bare[0] not in "[(-+.0123456789" or len(bare) > 64 * WIDEST:
        return None
    inner = re.sub(r"^[\[(\s]+", "", bare)
    words = re.split(r"[\s,;]+", re.split(r"[\])]", inner)[0].strip(" \n\t,;"))
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return None
    return np.asarray(numbers, np.float32) if len(numbers) >= FEWEST else None


def written(vector: NDArray[np.float32]) -> str:
    """A vector as text that keeps every bit."""
    return base64.b64encode(np.ascontiguousarray(vector, "<f4").tobytes()).decode()


def vector_of(text: str) -> NDArray[np.float32]:
    """The vector that `written` made a text of; raises InputError."""
    try:
        held = base64.b64decode(text, validate=True)
        return np.frombuffer(held, "<f4").astype(np.float32)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"the vector of this request is damaged: {error}") from error


async def read_file(name: str, content: bytes) -> dict[str, Any]:
    """The first vectors of a dropped file, as the page takes them; raises InputError, which calls it by its name."""
    found = ENDING.search(name.lower())
    ending = "" if found is None else found[0]
    if ending.endswith(PICKLES):
        raise InputError(
            f"{brief(name)} is a pickle, which can run code when it is opened, so it isn't read; save its array: "
            "numpy.save('vectors.npy', array)"
        )
    with tempfile.TemporaryDirectory(prefix="unembed-web-") as folder:
        dropped = Path(folder) / f"dropped{ending}"
        dropped.write_bytes(content)
        # Its name is relative, so that no message holds a path of this machine.
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "unembed_web.reading", dropped.name,
            cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"},
        )  # fmt: skip
        try:
            out, _ = await asyncio.wait_for(child.communicate(), SECONDS)
        except (TimeoutError, asyncio.CancelledError) as error:
            child.kill()
            await child.wait()
            if isinstance(error, asyncio.CancelledError):
                raise
            raise InputError(f"reading {brief(name)} takes more than {SECONDS} seconds; drop a smaller part") from None
    try:
        told: dict[str, Any] = json.loads(out)
    except ValueError:
        raise InputError(f"{brief(name)} can't be read here: it is damaged, or takes too much memory") from None
    if "error" in told:
        raise InputError(told["error"].replace(dropped.name, brief(name)))
    return {"name": name, **told}


def _read(name: str) -> dict[str, Any]:
    from unembed.sources.files import ENDINGS, reader_of
    from unembed.sources.records import SourceRequest
    from unembed.sources.source import Source

    reader = reader_of(name)
    readable = sorted(ending for ending in ENDINGS if ending not in PICKLES)
    if reader is None or reader is ENDINGS[".pt"]:
        raise InputError(f"{name}: vectors come from {', '.join(readable)} files")
    request = SourceRequest(None, None, None, False, False)
    source = Source(name, reader(name, request), request)
    ids: list[str] = []
    vectors: list[str] = []
    for batch in source.batches(MOST):
        if not len(batch) or batch.vectors.shape[1] != source.width:
            continue
        left = MOST - len(ids)
        ids += [one[:200] for one in batch.ids[:left]]
        vectors += [written(np.asarray(row, np.float32)) for row in batch.vectors[:left]]
        if len(ids) >= MOST:
            break
    return {
        "kind": source.kind,
        "width": source.width,
        "count": source.count,
        "ids": ids,
        "vectors": vectors,
        "notes": source.notes,
    }


def _main(name: str) -> None:
    try:
        import resource
    except ModuleNotFoundError:  # not on Windows
        pass
    else:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        told = _read(name)
    except UnembedError as error:
        told = {"error": brief(error, 390)}
    except MemoryError:
        told = {"error": f"{name} takes more memory to read than the page gives it: drop a smaller part"}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    _main(sys.argv[1])
