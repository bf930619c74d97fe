"""What is kept stays readable, and a damaged cache is one line instead of a crash."""

import json
import signal

import lmdb
import numpy as np
import pytest
import torch

from unembed.errors import InputError, UnembedError
from unembed_text.embedders.api import cache as module
from unembed_text.embedders.api.cache import VectorCache

TEXTS = [f"text {index}" for index in range(300)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The bytes of a cache of 300 vectors."""
    folder = tmp_path_factory.mktemp("written")
    cache = VectorCache(folder, space="s")
    for index in range(0, 300, 30):
        cache.put({text: torch.randn(200) for text in TEXTS[index : index + 30]})
    return (folder / "data.mdb").read_bytes()


def damaged(content: bytes, how: str) -> bytes:
    if how.startswith("cut"):
        return content[: int(len(content) * float(how[4:]))]
    if how == "noise":
        return np.random.default_rng(0).bytes(len(content))
    # The headers of one page in eight.
    found = bytearray(content)
    for page in range(2, len(found) // 4096, 8):
        for byte in range(8, 40):
            found[4096 * page + byte] ^= 0x55
    return bytes(found)


@pytest.mark.parametrize("how", ["cut 0.1", "cut 0.5", "cut 0.9", "noise", "headers"])
def test_a_damaged_cache_is_one_line_that_names_the_file(how, written, tmp_path) -> None:
    (tmp_path / "data.mdb").write_bytes(damaged(written, how))
    for _ in range(2):
        with pytest.raises(InputError, match=r"is damaged \(.*\): delete .*data\.mdb$") as caught:
            VectorCache(tmp_path, space="s")
        assert "\n" not in str(caught.value)
    (tmp_path / "data.mdb").unlink()
    cache = VectorCache(tmp_path, space="s")
    cache.put({"one": torch.ones(3)})
    assert torch.equal(cache.get(["one"])["one"], torch.ones(3))


def test_a_flipped_bit_of_a_vector_is_seen(tmp_path) -> None:
    folder, vector = tmp_path / "a", torch.arange(1.0, 9.0)
    VectorCache(folder, space="s").put({"one": vector})
    content = bytearray((folder / "data.mdb").read_bytes())
    content[bytes(content).index(vector.numpy().tobytes()) + 5] ^= 1
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "data.mdb").write_bytes(content)
    with pytest.raises(InputError, match="an answer isn't what was kept"):
        VectorCache(tmp_path / "b", space="s")


def test_a_cache_of_before_opens(written, tmp_path) -> None:
    cache = VectorCache(tmp_path / "new", space="s")
    key = cache._key("one")
    with lmdb.open(str(tmp_path / "old")) as database, database.begin(write=True) as writing:
        writing.put(key, np.arange(4, dtype="<f4").tobytes())
    old = VectorCache(tmp_path / "old", space="s")
    assert old.get(["one", "two"])["one"].tolist() == [0, 1, 2, 3] and old.width() is None


OPEN = """
import json, sys
from pathlib import Path
import torch
from unembed_text.embedders.api import cache
looked = []
real = cache._Store._inspect
cache._Store._inspect = lambda store: (looked.append(1), real(store))
kept = cache.VectorCache(Path(sys.argv[1]), space="s")
if len(sys.argv) > 2:
    kept.put({sys.argv[2]: torch.ones(3)})
print(json.dumps([len(looked), len(kept.get(["one", "two"]))]), flush=True)
if sys.argv[2:] == ["two"]:
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_cache_is_inspected_after_an_unclean_end_only(forking, tmp_path) -> None:
    def run(*words: str) -> list[int]:
        done = forking.run("-c", OPEN, tmp_path, *words)
        assert done.returncode in (0, -9), done.stderr
        return json.loads(done.stdout)

    assert [run("one"), run(), run("two"), run(), run()] == [[0, 1], [0, 1], [0, 2], [1, 2], [0, 2]]


def test_a_full_disk_is_no_damage(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "LIMIT", 2**16)
    cache = VectorCache(tmp_path, space="s")
    with pytest.raises(UnembedError, match="can't use the cache") as caught:
        cache.put({text: torch.ones(500) for text in TEXTS})
    assert not isinstance(caught.value, InputError) and cache.get(TEXTS) == {}


def test_a_place_that_cant_hold_a_cache_is_said(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "under", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match="set UNEMBED_CACHE"):
            VectorCache(place, space="s")


def test_a_claim_ends_with_its_block_and_with_its_process(forking, tmp_path) -> None:
    cache, other = VectorCache(tmp_path, space="s"), VectorCache(tmp_path, space="s")
    with cache.claimed(["one", "two"]) as mine:
        assert mine == ["one", "two"]
        with other.claimed(["two", "three"]) as theirs:
            assert theirs == ["three"]
    with other.claimed(["one", "two"]) as theirs:
        assert theirs == ["one", "two"]
    hold = (
        "import sys, time; from pathlib import Path; from unembed_text.embedders.api.cache import VectorCache\n"
        "with VectorCache(Path(sys.argv[1]), space='s').claimed(['one']): print('held', flush=True); time.sleep(600)"
    )
    process = forking.start("-c", hold, tmp_path)
    assert process.stdout.readline() == "held\n"
    with cache.claimed(["one", "two"]) as mine:
        assert mine == ["two"]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with cache.claimed(["one", "two"]) as mine:
        assert mine == ["one", "two"]
