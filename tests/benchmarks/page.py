"""Times `unembed web`: from the command to the first page, and from asking to the first hypothesis.

`python tests/benchmarks/page.py [ROUNDS]`. The page is asked as a browser asks it, its files too.
"""

import http.client
import json
import re
import signal
import subprocess
import sys
import time

RUN = "from unembed.cli import main; main()"
TEXT = "meet me at the old bridge at noon"  # eight tokens
FILES = ("", "page/page.css", "page/main.js", "page/invert.js", "page/view.js", "page/audits.js", "api/state")


def fetched(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", f"/{path}")
    answer = connection.getresponse().read()
    connection.close()
    return answer


def first_event(port: int, effort: str, wanted: bytes) -> float:
    """Seconds from asking until an event of that kind has come."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = json.dumps({"inverter": "minilm", "effort": effort, "text": TEXT})
    began = time.monotonic()
    connection.request("POST", "/api/invert", body, {"Content-Type": "application/json"})
    stream = connection.getresponse()
    while not stream.readline().startswith(b"event: " + wanted):
        pass
    seconds = time.monotonic() - began
    stream.read()
    connection.close()
    return seconds


def one_round() -> None:
    began = time.monotonic()
    running = subprocess.Popen(
        [sys.executable, "-c", RUN, "web", "--port", "0", "--device", "cpu"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert running.stdout is not None
        port = int(re.search(r":(\d+)/", running.stdout.readline())[1])  # type: ignore[index]
        fetched(port, "")
        page = time.monotonic() - began
        for path in FILES[1:]:
            fetched(port, path)
        whole = time.monotonic() - began
        while json.loads(fetched(port, "api/state"))["inverters"][0]["state"] != "ready":
            time.sleep(0.1)
        ready = time.monotonic() - began
        hypotheses = [first_event(port, effort, b"step") for effort in ("low", "medium", "medium", "medium")]
        ends = first_event(port, "medium", b"result")
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(30)
    told = ", ".join(f"{one:.2f}" for one in hypotheses)
    print(
        f"first page {page:.2f} s, with its files {whole:.2f} s; minilm ready {ready:.1f} s; "
        f"first hypothesis {told} s (low, then medium thrice), result {ends:.2f} s",
        file=sys.stdout,
    )


if __name__ == "__main__":
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
        one_round()
