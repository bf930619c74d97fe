"""Everything that a service does wrong is survived or said in one line, and nothing is paid for twice."""

import json
import logging
import os
import shutil
import signal
import time
from functools import partial

import pytest
import torch

from unembed import fingerprint, load, load_checkpoint, load_embedder, save_checkpoint
from unembed.cli import _run
from unembed.errors import CostLimitError, EmbedderMismatchError, InputError, ServiceError
from unembed.testing import check_inverter

pytestmark = pytest.mark.usefixtures("one_thread")

KEY = "sk-secret-0123456789"
TEXTS = [f"text number {index}" for index in range(24)]


@pytest.fixture(scope="session")
def answers(server, tmp_path_factory) -> torch.Tensor:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNEMBED_CACHE", str(tmp_path_factory.mktemp("truth")))
        return load_embedder(f"{server}#e5-query", device="cpu").embed_texts(TEXTS)


@pytest.fixture
def truth(answers, tmp_path, monkeypatch) -> torch.Tensor:
    """What the server itself answers."""
    monkeypatch.setenv("UNEMBED_CACHE", str(tmp_path / "cache"))
    return answers.clone()


def test_an_answer_is_asked_for_once(proxy, truth) -> None:
    embedder = load_embedder(proxy.name(batch=5, dimensions=384), device="cpu")
    assert torch.allclose(embedder.embed_texts(TEXTS + TEXTS[:3]), torch.cat([truth, truth[:3]]), atol=1e-6)
    assert len(proxy.requests) == 5 and max(size for _, size, _ in proxy.requests) == 5
    again = load_embedder(proxy.name(batch=5, dimensions=384), device="cpu")
    assert torch.allclose(again.embed_texts(TEXTS[::-1]), truth.flip(0), atol=1e-6)
    assert proxy.paid.total() == 24 and (again.meter.queries, again.meter.cached) == (0, 24)
    assert embedder.meter.queries == 24 and embedder.meter.tokens > 24 and embedder.queries == 27


RECOVERABLE = ["429", "500", "reset", "timeout", "truncated", "narrow", "nan", "shuffled", "fewer", "numbers", "html"]


@pytest.mark.parametrize("fault", RECOVERABLE)
def test_a_fault_that_passes_is_survived(fault, proxy, truth) -> None:
    proxy.faults = [fault]
    embedder = load_embedder(
        proxy.name(batch=8, concurrency=1, dimensions=384, timeout=4 if fault == "timeout" else 60), device="cpu"
    )
    assert torch.allclose(embedder.embed_texts(TEXTS), truth, atol=1e-6)
    # What came through whole, of a batch damaged in one row too, was asked for once.
    assert set(proxy.delivered.values()) == {1} and len(proxy.delivered) == 24
    wasted = {"truncated": 8, "fewer": 8, "numbers": 8, "html": 8, "narrow": 1, "nan": 1}
    assert proxy.paid.total() == 24 + wasted.get(fault, 0)


def test_retry_after_is_honoured(proxy) -> None:
    proxy.faults = ["429"]
    load_embedder(proxy.name(dimensions=384), device="cpu").embed_texts(["one"])
    (first, *_), (second, *_) = proxy.requests
    assert second - first >= 1


@pytest.mark.parametrize("fault", ["500", "reset", "nan", "truncated"])
def test_a_fault_that_stays_ends_in_one_line_and_keeps_the_rest(fault, proxy, truth) -> None:
    embedder = load_embedder(proxy.name(batch=8, concurrency=1, attempts=2, dimensions=384), device="cpu")
    proxy.faults = ["fine", fault, fault]
    with pytest.raises(ServiceError, match=r"2 times; try again later$") as caught:
        embedder.embed_texts(TEXTS)
    assert "\n" not in str(caught.value) and "Traceback" not in str(caught.value)
    kept = len(proxy.delivered)
    assert kept >= 8
    proxy.faults = []
    assert torch.allclose(embedder.embed_texts(TEXTS), truth, atol=1e-6)
    assert set(proxy.delivered.values()) == {1} and embedder.meter.cached == kept


def test_many_faults_at_once_lose_nothing(proxy, truth) -> None:
    proxy.faults = [*RECOVERABLE, *RECOVERABLE[::-1]]
    embedder = load_embedder(proxy.name(batch=2, concurrency=6, dimensions=384, timeout=4, attempts=30), device="cpu")
    assert torch.allclose(embedder.embed_texts(TEXTS), truth, atol=1e-6)
    assert set(proxy.delivered.values()) == {1}


def test_a_server_that_takes_fewer_at_once_gets_fewer(proxy, truth) -> None:
    proxy.always = "413:3"
    embedder = load_embedder(proxy.name(batch=16, dimensions=384), device="cpu")
    assert torch.allclose(embedder.embed_texts(TEXTS), truth, atol=1e-6)
    assert proxy.paid.total() == 24


def test_what_no_retry_cures_is_not_retried(proxy) -> None:
    proxy.always = "400"
    with pytest.raises(ServiceError, match=r"the service refused \(400\)"):
        load_embedder(proxy.name(dimensions=384), device="cpu").embed_texts(["one"])
    assert len(proxy.requests) == 1


def test_an_empty_text_spoils_no_batch(proxy) -> None:
    found = load_embedder(proxy.name(dimensions=384), device="cpu").embed_texts(["", "one"])
    assert torch.isfinite(found).all() and "" not in proxy.paid


def test_a_killed_run_goes_on_where_it_was(proxy, cache, forking) -> None:
    proxy.delay = 0.15
    name = proxy.name(batch=2, concurrency=1, dimensions=384)
    code = f"import unembed; unembed.load_embedder({name!r}, device='cpu').embed_texts({TEXTS!r})"
    process = forking.start("-c", code, env={**os.environ, "UNEMBED_CACHE": str(cache)})
    while len(proxy.requests) < 6:
        time.sleep(0.02)
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    proxy.delay = 0
    embedder = load_embedder(name, device="cpu")
    embedder.embed_texts(TEXTS)
    assert embedder.meter.cached >= 8
    assert proxy.paid.total() <= 24 + 2  # only the batch under way may have been asked for again


# The key


@pytest.mark.parametrize(("fault", "says"), [("401", "refused the key (401)"), ("400", "refused (400)")])
def test_a_key_is_sent_and_never_shown(fault, says, proxy, paid, caplog, capsys) -> None:
    caplog.set_level(logging.DEBUG)
    proxy.faults = ["500", fault]
    with pytest.raises(ServiceError) as caught:
        load_embedder("openai:small", device="cpu").embed_texts(["one"])
    assert proxy.requests[0][2]["authorization"] == f"Bearer {KEY}"
    assert says in str(caught.value)
    shown = caplog.text + str(caught.value) + repr(caught.value.__cause__) + "".join(capsys.readouterr())
    assert KEY not in shown and caught.value.__suppress_context__


def test_a_missing_key_is_asked_for_by_its_variable(paid, monkeypatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    embedder = load_embedder("openai:small", device="cpu")
    with pytest.raises(InputError, match="set OPENAI_API_KEY in the environment"):
        embedder.embed_texts(["one"])


def test_an_address_with_a_password_is_refused_without_repeating_it() -> None:
    with pytest.raises(InputError) as caught:
        load_embedder(f"http://user:{KEY}@localhost:1/v1#m", device="cpu")
    assert KEY not in str(caught.value) and "UNEMBED_API_KEY" in str(caught.value)


def test_options_after_a_servers_model_are_shown_their_place() -> None:
    with pytest.raises(InputError, match=r"http://localhost:1/v1\?dimensions=3#m$"):
        load_embedder("http://localhost:1/v1#m?dimensions=3", device="cpu")


@pytest.mark.parametrize("name", ["http://localhost:1/v1", "openai:", "openai:text-embedding-ada-002?dimensions=3"])
def test_a_name_that_cant_be_right_is_refused(name) -> None:
    with pytest.raises(InputError):
        load_embedder(name, device="cpu")


# Cost


def test_spending_stops_at_the_limit_and_goes_on_from_there(proxy, paid) -> None:
    embedder = load_embedder("openai:small?concurrency=1", device="cpu")
    embedder.meter.max_cost = 0.1  # a hundred tokens
    with pytest.raises(CostLimitError, match=r"--max-cost is \$0\.1"):
        embedder.embed_texts(TEXTS)
    asked = proxy.paid.total()
    assert 0 < asked < 24 and embedder.meter.cost <= 0.1
    embedder.meter.max_cost = None
    embedder.embed_texts(TEXTS)
    assert set(proxy.paid.values()) == {1}


def test_zero_steps_from_vectors_need_no_key(pair, proxy, tmp_path, capsys) -> None:
    vectors = tmp_path / "vectors.jsonl"
    vectors.write_text(json.dumps(torch.randn(384).tolist()) + "\n")
    words = ["invert", "--vectors", str(vectors), "--inverter", str(pair), "--device", "cpu"]
    assert _run([*words, "--steps", "0", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["reconstruction"] and row["similarity"] is None and row["queries"] == 0
    assert _run([*words, "--steps", "1"]) == 2
    assert "OPENAI_API_KEY" in capsys.readouterr().err
    assert _run([*words, "--steps", "2", "--beam", "3", "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["queries"] == 3 + 2 * 9 + 1 and found["cost"] == pytest.approx(found["tokens"] * 1e-3)
    assert proxy.requests == []


def test_a_run_says_what_it_cost(pair, proxy, monkeypatch, capsys) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    words = ["invert", "hello there", "--inverter", str(pair), "--device", "cpu", "--steps", "1", "--beam", "2"]
    assert _run([*words, "--max-cost", "0.001"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "--max-cost is $0.001" in err
    assert _run(words) == 0
    assert "tokens, about $" in capsys.readouterr().err
    assert KEY not in (pair / "manifest.json").read_text()


def test_a_limit_needs_a_price(random_pair, proxy, capsys) -> None:
    words = ["invert", "tea", "--inverter", str(random_pair), "--device", "cpu", "--steps", "0"]
    assert _run([*words, "--max-cost", "1"]) == 2
    assert "runs here and costs nothing" in capsys.readouterr().err


# The whole way


def test_an_inverter_over_a_server_keeps_its_promises(pair, proxy) -> None:
    proxy.always = "shuffled"  # in any order, as a server may answer
    inverter = load(str(pair), device="cpu", embedder=proxy.name(dimensions=384))
    check_inverter(inverter, ["a longer text, with commas", "tea"])
    assert set(proxy.delivered.values()) == {1}


def test_a_server_with_another_model_is_caught_when_first_asked(pair, proxy, monkeypatch, tmp_path) -> None:
    ours = load(str(pair), device="cpu", embedder=proxy.name(dimensions=384))
    out = tmp_path / "checked"
    manifest, tensors = load_checkpoint(pair)
    known = manifest.embedder.model_copy(update={"fingerprint": fingerprint(ours.embedder, ours.codec)})
    tokenizer = partial(shutil.copytree, pair / "tokenizer")
    save_checkpoint(
        out,
        tensors,
        manifest.model_copy(update={"embedder": known}),
        beside=lambda place: tokenizer(place / "tokenizer"),
    )
    load(str(out), device="cpu", embedder=proxy.name(dimensions=384)).embed(["hello"])
    other = load(str(out), device="cpu", embedder=f"{proxy.url}?dimensions=384#e5-passage")
    asked = len(proxy.requests)
    with pytest.raises(EmbedderMismatchError, match="returns other embeddings"):
        other.embed(["hello"])
    assert len(proxy.requests) > asked  # not before it had to be


def test_a_server_of_another_width_is_caught_at_once(random_pair, proxy) -> None:
    with pytest.raises(EmbedderMismatchError, match="384 wide"):
        load(str(random_pair), device="cpu", embedder=proxy.name(dimensions=384))
    assert proxy.requests == []
