"""Nothing is paid by surprise: what may cost is asked for once, when it must be, and never past a limit."""

import json
import signal
import time

import numpy as np
import pytest
import torch

from unembed import load, load_embedder
from unembed.cli import _run
from unembed.costs.meter import Meter
from unembed.errors import CostLimitError, EmbedderMismatchError, InputError, ServiceError

pytestmark = pytest.mark.usefixtures("one_thread")

TEXTS = [f"text number {index}" for index in range(24)]


@pytest.fixture
def vectors(tmp_path):
    """A file of two vectors, as wide as the pair's."""
    np.save(tmp_path / "vectors.npy", torch.randn(2, 384).numpy())
    return str(tmp_path / "vectors.npy")


# Nothing is sent


@pytest.mark.parametrize("given", ["vectors", "texts", "evaluate"])
def test_a_dry_run_sends_and_writes_nothing(given, fake, pair, vectors, tmp_path, capsys) -> None:
    (tmp_path / "texts.txt").write_text("hello there\ntea\n")
    words = {
        "vectors": ["invert", "--vectors", vectors],
        "texts": ["invert", "hello there"],
        "evaluate": ["evaluate", "--data", str(tmp_path / "texts.txt")],
    }[given]
    command = [*words, "--inverter", str(pair), "--device", "cpu", "--embedder", fake.name(price=1)]
    assert _run([*command, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cost"] > 0
    assert fake.requests == 0 and not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("options", "limit", "code"),
    [
        ({"price": 1}, "0", 1),
        ({}, "0", 2),
        ({}, "1", 2),
        ({"price": "inf"}, "0", 2),
        ({"price": "nan"}, "1", 2),
        ({"price": 1}, "nan", 2),
        ({"price": 1}, "-1", 2),
    ],
)
def test_a_limit_that_allows_nothing_sends_nothing(options, limit, code, fake, pair, vectors, capsys) -> None:
    words = ["invert", "--vectors", vectors, "--inverter", str(pair), "--device", "cpu", "--steps", "1"]
    assert _run([*words, "--embedder", fake.name(**options), "--max-cost", limit]) == code
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1 and fake.requests == 0


def test_a_width_is_asked_for_only_when_it_must_be(fake) -> None:
    embedder = load_embedder(fake.name(), device="cpu")
    assert fake.requests == 0
    assert embedder.dimension == embedder.dimension == 384 and fake.requests == 1
    assert load_embedder(fake.name(), device="cpu").dimension == 384 and fake.requests == 1  # the cache knows it
    known = load_embedder(fake.name(dimensions=24), device="cpu")
    told = load_embedder(fake.name(prompt="x"), device="cpu")
    told.expect(384)
    assert (known.dimension, told.dimension, fake.requests) == (24, 384, 1)
    assert load_embedder("ollama:nomic-embed-text", device="cpu").dimension == 768


def test_answers_tell_the_width_to_later_runs(fake) -> None:
    embedder = load_embedder(fake.name(), device="cpu")
    embedder.expect(384)
    embedder.embed_texts(["one"])
    assert load_embedder(fake.name(), device="cpu").dimension == 384 and list(fake.asked) == ["one"]


def test_a_limit_needs_a_price_in_the_library_too() -> None:
    meter = Meter(max_cost=1.0)
    with pytest.raises(InputError, match="price"):
        meter.reserve(1)
    for limit in (float("nan"), 0.0):
        with pytest.raises(CostLimitError):
            Meter(price=1.0, max_cost=limit).reserve(1)


# Nothing is sent for long in vain


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (429, {"code": "insufficient_quota", "message": "You exceeded your current quota"}),
        (429, {"type": "insufficient_quota", "code": None, "message": "You exceeded your current quota"}),
        (402, {"message": "Payment required"}),
    ],
)
def test_a_used_up_quota_is_told_at_once(status, error, fake) -> None:
    fake.status, fake.error = status, error
    with pytest.raises(ServiceError, match=f"no quota left \\({status}\\)"):
        load_embedder(fake.name(dimensions=384), device="cpu").embed_texts(["one"])
    assert fake.requests == 1


def test_a_wait_that_is_too_long_is_told_at_once(fake) -> None:
    fake.status, fake.headers = 429, {"Retry_After": "3600"}
    with pytest.raises(ServiceError, match="answered 429; try again after 3600 s"):
        load_embedder(fake.name(dimensions=384), device="cpu").embed_texts(["one"])
    assert fake.requests == 1


def test_a_model_of_another_width_is_paid_for_once(fake, pair) -> None:
    fake.width = 24
    inverter = load(str(pair), device="cpu", embedder=fake.name())
    with pytest.raises(EmbedderMismatchError, match="24 wide, not 384"):
        inverter.embed(["one"])
    assert fake.requests == 1
    fake.width = 384  # the server was started anew, with the right one
    assert inverter.embed(["one"]).shape == (1, 384)


def test_an_answer_that_got_lost_counts_against_the_limit(proxy) -> None:
    proxy.faults = ["truncated"] * 9
    embedder = load_embedder(proxy.name(dimensions=384, price=1e6, attempts=9), device="cpu")
    embedder.meter.max_cost = 9.0  # nine tokens; each of these texts is taken for four
    with pytest.raises(CostLimitError):
        embedder.embed_texts(["ten letters"])
    assert len(proxy.requests) == 2 and embedder.meter.queries == 0


# Nothing is asked for twice

ASK = f"""
import openai, sys, unembed
embedder = unembed.load_embedder(sys.argv[1], device="cpu")
print("ready", flush=True)
input()
embedder.embed_texts({TEXTS!r})
"""


@pytest.fixture
def ready(forking):
    """`ready(name)` is a process that asks about the texts as soon as it is sent a line."""

    def begun(name: str):
        process = forking.start("-c", ASK, name)
        assert process.stdout.readline() == "ready\n"
        return process

    return begun


def tell(process) -> None:
    process.stdin.write("go\n")
    process.stdin.flush()


def wait_for(happened, *processes) -> None:
    while not happened():
        time.sleep(0.02)
        assert all(process.poll() is None for process in processes)


def test_two_processes_with_one_cache_ask_once(fake, ready) -> None:
    name = fake.name(batch=4, concurrency=2, dimensions=384)
    process, embedder = ready(name), load_embedder(name, device="cpu")
    fake.delay = 2.0
    tell(process)
    wait_for(lambda: fake.requests, process)
    found = embedder.embed_texts(TEXTS)  # while the other's first requests are under way
    _, code = process.communicate(), process.returncode
    assert code == 0 and embedder.meter.cached >= 8 and embedder.meter.queries >= 8
    assert torch.equal(found, torch.tensor([fake.vector(text) for text in TEXTS]))
    assert set(fake.asked.values()) == {1} and len(fake.asked) == 24


def test_what_a_killed_process_was_asking_for_is_asked_by_another(fake, ready) -> None:
    name = fake.name(batch=4, concurrency=2, dimensions=384)
    process = ready(name)
    fake.delay = 600
    tell(process)
    wait_for(lambda: fake.requests == 2, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    fake.delay = 0
    load_embedder(name, device="cpu").embed_texts(TEXTS)
    assert fake.asked == {text: 1 + (index < 8) for index, text in enumerate(TEXTS)}


def test_sigterm_keeps_what_is_under_way(fake, pair, forking, tmp_path) -> None:
    fake.delay = 0.5
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    name = fake.name(batch=4, concurrency=2)
    words = ["evaluate", "--data", str(tmp_path / "texts.txt"), "--inverter", str(pair), "--device", "cpu"]
    words += ["--embedder", name, "--steps", "0"]
    process = forking.start("-c", f"import sys; from unembed.cli import main; sys.argv[1:] = {words}; main()")
    wait_for(lambda: fake.requests >= 4, process)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate()
    assert process.returncode == 130 and said.splitlines()[-1] == "error: interrupted"
    asked = len(fake.asked)
    assert asked < 24
    fake.delay = 0
    embedder = load_embedder(name, device="cpu")
    embedder.expect(384)
    embedder.embed_texts(TEXTS)
    assert set(fake.asked.values()) == {1} and embedder.meter.cached == asked


# Names and messages


@pytest.mark.parametrize(
    "name",
    [
        "http://127.0.0.1:x/v1#m",
        "http://127.0.0.1:99999/v1#m",
        "http://127.0.0.1:-1/v1#m",
        "http://127.0.0.1:0/v1#m",
        "http://[::1/v1#m",
        "http://[::1:80/v1#m",
        "http://[zz]/v1#m",
        "http://a..b/v1#m",
        f"http://{'a' * 70}.org/v1#m",
        "http://a b/v1#m",
        "http://a/v 1#m",
        "http://a\x07/v1#m",
        "http://:80/v1#m",
        "http:///v1#m",
        "http:v1#m",
        "http://a/v1#",
        "http://a/v1#\udce9",
        "openai:\udce9",
        f"http://a/{'v' * 5000}#m",
        f"http://a:{'1' * 5000}/v1#m",
        f"http://a/v1?{'o' * 5000}=1#m",
        f"http://a/v1?dimensions={'1' * 5000}#m",
        f"openai:{'m' * 5000}?dimensions=-1",
        f"openai:m?{'o' * 5000}",
        "openai:m?price=1&price=2",
        "openai:m?price=inf",
        "openai:m?timeout=nan",
        "openai:m?requests_per_minute=inf",
        "openai:m?concurrency=100000",
        "st:/missing",
        "st:../missing",
        f"hf:{'m' * 5000}",
        "onnx:no such model",
        "st:\udce9",
    ],
)
def test_a_name_that_cant_be_right_is_one_short_line(name, capsys) -> None:
    with pytest.raises(InputError) as caught:
        load_embedder(name, device="cpu")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_a_long_name_isnt_repeated_in_full(fake) -> None:
    fake.status, fake.error = 400, {"message": "no such model " + "m" * 5000}
    embedder = load_embedder(f"{fake.url}?dimensions=3#{'m' * 5000}", device="cpu")
    with pytest.raises(ServiceError) as caught:
        embedder.embed_texts(["one"])
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("authority", ["user:sk-123@h", "sk-123@[::1", "user:sk-123@h:x"])
def test_a_password_in_a_broken_address_isnt_repeated(authority) -> None:
    with pytest.raises(InputError) as caught:
        load_embedder(f"http://{authority}/v1?bad#m?x", device="cpu")
    assert "sk-123" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-é", "sk\nx: y"])
def test_a_key_that_cant_be_sent_is_said_and_not_shown(key, paid, proxy, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(InputError, match="OPENAI_API_KEY") as caught:
        load_embedder("openai:small", device="cpu").embed_texts(["one"])
    assert key not in str(caught.value) and proxy.requests == []
