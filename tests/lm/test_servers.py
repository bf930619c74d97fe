"""Servers that show log-probabilities: the same embeddings as from the model itself, and what is missing said."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

import unembed
from unembed.errors import InputError, ServiceError
from unembed_lm.layout import joined, parted

TEXTS = ["write a poem", "sing the sea please"]


class Fake:
    """A server over a model that runs here, as far as its two protocols are asked."""

    def __init__(self, local) -> None:
        self.local, self.broken, self.requests = local, "", 0

    @torch.no_grad()
    def logs(self, ids: list[int]) -> torch.Tensor:
        return self.local.model(torch.tensor([ids])).logits[0].log_softmax(-1)

    def write(self, ids: list[int], steps: int, bias: dict[str, float]) -> list[tuple[int, torch.Tensor]]:
        rows = []
        for _ in range(steps):
            logits = self.logs(ids)[-1].clone()
            for token, value in bias.items():
                logits[int(token)] += value
            log = logits.log_softmax(-1)
            token = int(log.argmax())
            rows.append((token, self.logs(ids)[-1] if self.broken == "before the bias" else log))
            ids = [*ids, token]
            if token == self.local.tokenizer.eos_token_id:
                break
        return rows

    def completion(self, body: dict) -> dict:
        rows = self.write(body["prompt"], body["n_predict"], {})
        listed = [
            {"id": token, "logprob": float(log[token]), "top_logprobs": self.top(log, body["n_probs"])}
            for token, log in rows
        ]
        if self.broken == "no log-probabilities":
            listed = []
        return {"tokens": [token for token, _ in rows], "completion_probabilities": listed}

    def top(self, log: torch.Tensor, count: int) -> list[dict]:
        if self.broken == "few":
            count = 5
        if self.broken == "not finite":
            log = log.masked_fill(torch.arange(len(log)) % 2 == 0, -torch.inf)
        best = log.argsort(descending=True)[:count].tolist()
        return [{"id": i, "logprob": float(log[i])} for i in best]

    def completions(self, body: dict) -> dict:
        def shown(log: torch.Tensor, count: int) -> dict:
            named = {entry["id"]: entry["logprob"] for entry in self.top(log, len(log) if count < 0 else count)}
            return {("tok" if self.broken == "by text" else "token_id:") + str(i): value for i, value in named.items()}

        rows = self.write(body["prompt"], body["max_tokens"], body.get("logit_bias", {}))
        tokens = [("tok" if self.broken == "by text" else "token_id:") + str(token) for token, _ in rows]
        logs = {"tokens": tokens, "top_logprobs": [shown(log, body["logprobs"]) for _, log in rows]}
        choice = {"logprobs": None if self.broken == "no log-probabilities" else logs}
        if "prompt_logprobs" in body and self.broken != "no echo":
            whole = self.logs(body["prompt"])[:-1]
            choice["prompt_logprobs"] = [
                None,
                *({str(i): {"logprob": float(v)} for i, v in enumerate(log.tolist())} for log in whole),
            ]
        return {"choices": [choice]}


@pytest.fixture
def fake(embedder):
    made = Fake(embedder)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.requests += 1
            found = json.dumps({"/completion": made.completion, "/v1/completions": made.completions}[self.path](body))
            self.send_response(403 if made.broken == "forbidden" else 200)
            self.end_headers()
            self.wfile.write(found.encode())

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    made.port = server.server_address[1]
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def ask(fake, model, kind: str, access: str = "forced"):
    options = f"tokenizer={model}&tokens=132&steps=4&width=16&access={access}"
    where = f"http://127.0.0.1:{fake.port}"
    name = f"llamacpp:{where}?{options}" if kind == "llamacpp" else f"completions:{where}/v1?{options}#tiny"
    return unembed.load_embedder(name, device="cpu")


@pytest.mark.parametrize(
    ("kind", "access"),
    [("llamacpp", "forced"), ("completions", "forced"), ("completions", "full"), ("completions", "biased")],
)
def test_a_server_gives_the_models_own_embeddings(fake, model, embedder, kind, access) -> None:
    served = ask(fake, model, kind, access)
    assert served.tokens == embedder.tokens and access in served.name
    signals = served.codec.encode(TEXTS)
    own = embedder.embed(signals)
    assert torch.allclose(served.embed(signals), own, atol=1e-3)
    forced = joined(parted(signals, 4)[0], embedder.layout.unpack(own)[1].roll(1, 0))
    if served.forces:
        assert torch.allclose(served.embed(forced), embedder.embed(forced), atol=1e-3)
    assert served.meter.requests == fake.requests > 0 and served.meter.queries == served.queries


def test_biasing_costs_a_request_for_nineteen_tokens_a_step(fake, model) -> None:
    served = ask(fake, model, "completions", "biased")
    answer = served.layout.unpack(served.embed(served.codec.encode(TEXTS[:1])))[1]
    assert fake.requests == 1 + int((answer >= 0).sum()) * -(-131 // 19)


@pytest.mark.parametrize("kind", ["llamacpp", "completions"])
def test_text_alone_is_the_continuation(fake, model, embedder, kind) -> None:
    served = ask(fake, model, kind, "text")
    ratios, answer = served.layout.unpack(served.embed(served.codec.encode(TEXTS)))
    assert not ratios.any()
    assert torch.equal(answer, embedder.layout.unpack(embedder.embed(embedder.codec.encode(TEXTS)))[1])


@pytest.mark.parametrize(
    ("kind", "access", "broken", "told"),
    [
        ("llamacpp", "forced", "no log-probabilities", "showed no log-probabilities"),
        ("completions", "forced", "no log-probabilities", "showed no log-probabilities"),
        ("llamacpp", "forced", "few", "log-probabilities of 5 tokens"),
        ("llamacpp", "forced", "not finite", "isn't finite"),
        ("completions", "biased", "before the bias", "from before the bias"),
        ("completions", "forced", "by text", "return_tokens_as_token_ids"),
    ],
)
def test_what_a_server_doesnt_show_is_one_line(fake, model, kind, access, broken, told) -> None:
    served = ask(fake, model, kind, access)
    fake.broken = broken
    with pytest.raises(ServiceError, match=told) as caught:
        served.embed(served.codec.encode(TEXTS))
    assert "\n" not in str(caught.value)


def test_a_server_without_echo_says_which_access_is_left(fake, model, embedder) -> None:
    served = ask(fake, model, "completions")
    fake.broken = "no echo"
    signals = embedder.codec.encode(TEXTS)
    forced = joined(parted(signals, 4)[0], embedder.layout.unpack(embedder.embed(signals))[1])
    with pytest.raises(ServiceError, match="add access=full"):
        served.embed(forced)


def test_a_missing_key_is_said(fake, model) -> None:
    served = ask(fake, model, "llamacpp")
    fake.broken = "forbidden"
    with pytest.raises(InputError, match="the key is missing; set UNEMBED_LM_KEY"):
        served.embed(served.codec.encode(TEXTS))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("completions:http://127.0.0.1:1/v1", "needs a model"),
        ("llamacpp:ftp://nowhere", "isn't a server's URL"),
        ("llamacpp:http://127.0.0.1:1?access=biased", "leave access out"),
    ],
)
def test_an_address_that_is_none_is_said(name, told) -> None:
    with pytest.raises(InputError, match=told):
        unembed.load_embedder(name, device="cpu")
