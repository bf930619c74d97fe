"""The page's addresses over a real socket: who may ask, what comes back, what is refused."""

import base64
import json
import pickle
import socket
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unembed.errors import InputError
from unembed.testing.toy import toy_inverter
from unembed_web import app
from unembed_web.catalogue import Catalogue
from unembed_web.reading import vector_of, written

NOBODY = [0.5 if place % 3 else -0.7 for place in range(24)]  # no word is embedded near this


@pytest.fixture
def served(serve):
    return serve("toy", "slow", "painted", "broken")


def kinds(events) -> list[str]:
    return [kind for kind, _ in events]


def test_a_text_is_inverted_step_by_step(served) -> None:
    events = served.events(inverter="toy", effort="low", text="bccb")
    assert kinds(events) == ["opening", "started", "step", "step", "step", "result"]
    started, *steps, result = [what for _, what in events[1:]]
    assert started["original"] == {"text": "bccb"} and started["steps"] == 4 and started["dimension"] == 24
    assert [step["text"] for step in steps] == ["bdd", "gccb", "bccb"]
    assert [step["move"] for step in steps] == ["guess", "correct", "correct"]
    assert [step["number"] for step in steps] == [0, 1, 2]
    assert steps[0]["parts"] == [[False, "bdd"]] and steps[1]["parts"] == [[True, "gccb"]]
    for step in steps:
        similarities = [one["similarity"] for one in step["proposals"]]
        assert similarities == sorted(similarities, reverse=True) and similarities[0] == step["similarity"]
        assert "".join(piece for _, piece in step["parts"]) == step["text"]
        assert all((one["parent"] is None) == (step["number"] == 0) for one in step["proposals"])
    assert steps[2]["proposals"][0]["parent"] == {"text": "gccb"}
    plain = toy_inverter()
    (row,) = plain.invert(plain.embed(["bccb"]), effort="low").rows()
    assert result["exact"] is True and result["text"] == "bccb"
    assert {key: result[key] for key in ("similarity", "steps", "queries", "stopped")} == {
        key: row[key] for key in ("similarity", "steps", "queries", "stopped")
    }


def test_a_pasted_vector_is_no_text_and_its_original_isnt_known(served) -> None:
    vector = toy_inverter().embed(["cafe"])[0].tolist()
    for text in (
        json.dumps(vector),
        json.dumps([vector, vector]),
        " ".join(map(str, vector)),
        ",\n".join(map(str, vector)),
    ):
        result = served.events(inverter="toy", effort="low", text=text)[-1][1]
        assert result["text"] == "cafe" and result["exact"] is None
    dropped = written(np.asarray(vector, np.float32))
    assert served.events(inverter="toy", effort="low", vector=dropped)[-1][1]["text"] == "cafe"
    assert np.array_equal(vector_of(dropped), np.asarray(vector, np.float32))


def test_a_picture_is_sent_as_a_picture(served) -> None:
    events = served.events(inverter="painted", effort="low", picture=base64.b64encode(b"bccb").decode())
    started, result = events[1][1], events[-1][1]
    assert started["original"]["picture"].startswith("data:image/png;base64,")
    assert result["picture"] == started["original"]["picture"] and result["exact"] is True
    assert events[2][1]["parts"] is None and events[2][1]["picture"] != result["picture"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"inverter": "toy", "text": "xyz"}, "isn't a word over"),
        ({"inverter": "toy", "text": "  "}, "nothing to invert"),
        ({"inverter": "toy", "text": str([0.5] * 30)}, "the vectors are 30 wide"),
        ({"inverter": "toy", "text": str([0.0] * 24)}, "only zeros"),
        ({"inverter": "toy", "vector": "?"}, "damaged"),
        ({"inverter": "toy", "picture": "AAAA"}, "toy takes texts"),
        ({"inverter": "painted", "text": "cafe"}, "painted takes images"),
        ({"inverter": "toy", "text": "cafe", "effort": "none"}, "no effort 'none'"),
        ({"inverter": "/etc", "text": "cafe"}, "no inverter '/etc' on this page"),
        ({"inverter": "broken", "text": "cafe"}, "its weights are <b>gone</b>"),
    ],
)
def test_what_goes_wrong_is_said_in_one_line(served, given, message) -> None:
    kind, what = served.events(**{"effort": "low", **given})[-1]
    assert kind == "failed" and message in what["message"] and "\n" not in what["message"]


def test_only_inverters_of_the_page_can_be_opened(served) -> None:
    status, _, body = served.ask("POST", "/api/open", {"inverter": "minilm"})
    assert status == 400 and b"no such inverter" in body
    assert served.ask("POST", "/api/open", {"inverter": "slow"})[0] == 200
    end = time.monotonic() + 10
    while states_of(served)["slow"] != "ready":
        assert time.monotonic() < end
        time.sleep(0.02)
    served.events(inverter="broken", effort="low", text="cafe")
    assert states_of(served)["broken"].startswith("its weights")


def test_a_service_that_costs_money_is_asked_only_if_it_was_named(serve) -> None:
    catalogue = Catalogue()
    assert "metered" in catalogue.names
    with pytest.raises(InputError, match="--inverter metered"):
        catalogue.opened("metered")
    assert Catalogue(["metered"]).opened("metered")[0].embedder.meter is not None


def states_of(served) -> dict[str, str]:
    return {one["name"]: one["state"] for one in json.loads(served.ask("GET", "/api/state")[2])["inverters"]}


def test_the_first_inverter_is_opened_once_the_page_is_there(served) -> None:
    assert served.ask("GET", "/")[0] == served.ask("GET", "/page/main.js")[0] == 200
    time.sleep(0.3)
    assert not served.page.catalogue._open  # opening imports torch, which would hold the page up
    end = time.monotonic() + 10
    while states_of(served)["toy"] != "ready":
        assert time.monotonic() < end
        time.sleep(0.02)
    assert states_of(served)["slow"] == "unopened"


def begun(served, **given) -> socket.socket:
    """A search whose stream is open, and of which a step has come."""
    body = json.dumps(given).encode()
    head = f"POST /api/invert HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nContent-Type: application/json\r\n"
    line = socket.create_connection(("127.0.0.1", served.port), timeout=20)
    line.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    received = b""
    while b"event: step" not in received:
        received += line.recv(65536)
    return line


def test_who_goes_away_cancels_within_a_step_and_the_next_has_its_turn(served) -> None:
    import page_toys

    line = begun(served, inverter="slow", effort="exhaustive", text=json.dumps(NOBODY))
    left = time.monotonic()
    line.close()
    assert served.events(inverter="toy", effort="low", text="cafe")[-1][1]["text"] == "cafe"
    assert time.monotonic() - left < 8
    assert max(page_toys.slept) - left < 2 * page_toys.SLEEP + 1
    count = len(page_toys.slept)
    time.sleep(3 * page_toys.SLEEP)
    assert len(page_toys.slept) == count  # nothing goes on behind


def test_the_second_visitor_waits_for_the_first(served) -> None:
    line = begun(served, inverter="slow", effort="low", text=json.dumps(NOBODY))
    events = served.events(inverter="toy", effort="low", text="cafe")
    line.close()
    assert events[0] == ("waiting", {"before": 1}) and kinds(events)[-1] == "result"


def test_a_full_line_says_so(serve) -> None:
    served = serve("toy", "slow", most=0)
    status, _, body = served.ask("POST", "/api/invert", {"inverter": "toy", "effort": "low", "text": "cafe"})
    assert status == 503 and b"wait already" in body


def test_the_page_may_load_nothing_from_elsewhere(served) -> None:
    status, headers, body = served.ask("GET", "/")
    policy = headers["content-security-policy"]
    assert status == 200 and "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert headers["x-content-type-options"] == "nosniff" and "server" not in headers
    for name in ("page.css", "main.js", "invert.js", "icon.svg"):
        status, headers, found = served.ask("GET", f"/page/{name}")
        assert status == 200 and headers["content-security-policy"] == policy
        assert b"http" not in found.replace(b"http://www.w3.org/2000/svg", b"")
    assert b"http" not in body


@pytest.mark.parametrize(
    "path", ["/page/../app.py", "/page/..%2fapp.py", "/page/%2e%2e/app.py", "/page/", "/etc/passwd"]
)
def test_no_other_file_is_served(served, path) -> None:
    assert served.ask("GET", path)[0] == 404


def test_other_addresses_and_other_pages_are_refused(served) -> None:
    state, given = "/api/state", {"inverter": "toy", "effort": "low", "text": "cafe"}
    port = served.port
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"):
        assert served.ask("GET", state, Host=host)[0] == 200
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1:1",
        f"10.1.2.3:{port}",
        f"localhost.evil.example:{port}",
        "",
    ):
        assert served.ask("GET", state, Host=host)[0] == 421
    assert served.ask("POST", "/api/invert", given, Origin=served.url)[0] == 200
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{port}", "http://127.0.0.1:1"):
        status, headers, _ = served.ask("POST", "/api/invert", given, Origin=origin)
        assert status == 403 and not any(name.startswith("access-control") for name in headers)
    assert served.ask("GET", state, Sec_Fetch_Site="cross-site")[0] == 403
    assert served.ask("GET", "/", Sec_Fetch_Site="cross-site")[0] == 200  # a link to the page
    status, headers, _ = served.ask("OPTIONS", "/api/invert", Access_Control_Request_Method="POST")
    assert status == 405 and not any(name.startswith("access-control") for name in headers)
    assert served.ask("POST", "/api/invert", json.dumps(given).encode(), Content_Type="text/plain")[0] == 415
    assert served.ask("POST", "/api/invert", b"[1]", Content_Type="application/json")[0] == 400
    assert served.ask("POST", "/api/invert", b"[" * 100_000, Content_Type="application/json")[0] == 400


def test_a_token_opens_the_page_and_nothing_else_does(serve) -> None:
    served = serve("toy", token="right", host="0.0.0.0")
    for path in ("/", "/?token=wrong", "/?token=", "/api/state?token=right", "/page/main.js"):
        assert served.ask("GET", path)[0] == 403
    status, headers, _ = served.ask("GET", "/?token=right")
    cookie = headers["set-cookie"]
    assert status == 303 and headers["location"] == "/" and "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert served.ask("GET", "/", Cookie=cookie.partition(";")[0])[0] == 200
    assert served.ask("GET", "/api/state", Cookie=cookie.partition(";")[0])[0] == 200
    assert served.ask("GET", "/api/state", Cookie=f"unembed-{served.port}=wrong")[0] == 403
    assert served.ask("GET", "/?token=right", Host=f"evil.example:{served.port}")[0] == 421
    assert served.ask("GET", "/?token=right", Host=f"10.1.2.3:{served.port}")[0] == 303


def test_a_request_is_bounded(served, monkeypatch) -> None:
    monkeypatch.setattr(app, "MOST", 1000)
    assert served.ask("POST", "/api/vectors?name=a.npy", b"x" * 1001)[0] == 413
    assert served.ask("POST", "/api/invert", {"text": "x" * 1001})[0] == 413
    assert served.ask("POST", "/api/vectors?name=a.npy", b"x" * 1000)[0] == 400


VECTORS = np.random.default_rng(0).normal(size=(120, 24)).astype(np.float32)


def content(path, vectors=VECTORS) -> bytes:
    if path.suffix == ".npy":
        np.save(path, vectors)
    elif path.suffix == ".json":
        path.write_text(json.dumps(vectors.tolist()))
    elif path.suffix == ".csv":
        np.savetxt(path, vectors, delimiter=",", fmt="%.9g")
    else:
        pq.write_table(pa.table({"id": [f"n{i}" for i in range(len(vectors))], "vector": vectors.tolist()}), path)
    return path.read_bytes()


@pytest.mark.parametrize("ending", [".npy", ".json", ".csv", ".parquet"])
def test_the_first_vectors_of_a_dropped_file_come_back_bit_for_bit(served, tmp_path, ending) -> None:
    status, _, body = served.ask("POST", f"/api/vectors?name=my{ending}", content(tmp_path / f"my{ending}"))
    told = json.loads(body)
    assert status == 200, told
    assert told["name"] == f"my{ending}" and told["width"] == 24 and len(told["vectors"]) == len(told["ids"]) == 100
    assert np.array_equal([vector_of(one) for one in told["vectors"]], VECTORS[:100])
    assert told["ids"][3] == ("n3" if ending == ".parquet" else "3")


class Opened:
    """A pickle of it makes a file when it is opened."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_no_pickle_is_ever_opened(served, tmp_path) -> None:
    mark = tmp_path / "opened"
    bad = pickle.dumps(Opened(mark))
    objects = tmp_path / "objects.npy"
    np.save(objects, np.array([Opened(mark)], dtype=object), allow_pickle=True)
    for name, body in (
        ("a.pkl", bad), ("a.npy", bad), ("a", bad), ("a.pt", bad), ("a.pth.gz", bad), ("o.npy", objects.read_bytes()),
    ):  # fmt: skip
        status, _, told = served.ask("POST", f"/api/vectors?name={name}", body)
        assert status == 400 and "\n" not in json.loads(told)["error"], name
        assert not mark.exists(), name


@pytest.mark.parametrize("name", ["a.npy", "a.parquet", "a.json", "a.csv", "../../a.npy", "a.exe", "a.db", ".", ""])
def test_a_damaged_file_is_refused_in_one_line_that_calls_it_by_its_name(served, name) -> None:
    status, _, told = served.ask("POST", f"/api/vectors?name={name}", b"\x00\x01 no vectors")
    message = json.loads(told)["error"]
    assert status == 400 and "\n" not in message and "dropped" not in message and "/tmp" not in message
    if name.startswith("a."):
        assert name in message


def test_listing_inverters_and_serving_them_loads_no_torch() -> None:
    code = (
        "import sys, unembed_web.app, unembed_web.command, uvicorn\n"
        "from unembed_web.catalogue import Catalogue\n"
        "assert len(Catalogue().listed()) > 3\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
