"""The command: where it listens, what it says, and what it needs."""

import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

RUN = "from unembed.cli import main; main()"


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", RUN, "web", *words]


def told(*words: str, path: str = "/") -> tuple[str, str, int]:
    """Start the page, ask it once, end it as Ctrl-C does: its output, errors and the status of the answer."""
    running = subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = running.stdout.readline()
        address = re.search(r"http://\S+", line)[0]
        port = re.search(r":(\d+)/", address)[1]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
                status = answer.status
        except urllib.error.HTTPError as error:
            status = error.code
            error.close()
    finally:
        running.send_signal(signal.SIGINT)
        out, errors = running.communicate(timeout=30)
    assert running.returncode == 0, errors
    assert out == ""
    return line, errors, status


def test_it_listens_on_this_machine_alone() -> None:
    line, errors, status = told("--port", "0")
    assert "http://127.0.0.1:" in line and "token" not in line and errors.strip() == "" and status == 200


def test_it_ends_well_while_an_inverter_is_opened() -> None:
    _, errors, status = told("--port", "0", path="/api/state")  # which begins to
    assert errors.strip() == "" and status == 200


def test_another_address_has_a_warning_and_a_token() -> None:
    line, errors, status = told("--port", "0", "--host", "0.0.0.0")
    assert re.search(r"/\?token=[\w-]{32}\b", line) and errors.startswith("warning: 0.0.0.0 can be reached")
    assert status == 403


def wrong(*words: str) -> str:
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1, done
    return done.stderr


def test_what_is_wrong_is_said_in_one_line(tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "choose another --port" in wrong("--port", str(taken.getsockname()[1]))
    assert "no audit's folder" in wrong(str(tmp_path))
    assert "is no address" in wrong("--host", "no.such.host.invalid")


def test_without_the_extra_it_names_the_extra() -> None:
    code = f"import sys; sys.modules['starlette'] = None; {RUN}"
    for words, returned in ((["web"], 2), (["web", "--help"], 0), (["--help"], 0)):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == returned, done
        assert ("pip install 'unembed[web]'" in done.stderr) is (returned == 2)


@pytest.mark.parametrize("words", [["--port", "0"], []])
def test_a_port_is_always_found_unless_one_is_asked_for(words) -> None:
    with socket.socket() as ours:
        try:
            ours.bind(("127.0.0.1", 8386))
            ours.listen()
        except OSError:
            pass  # taken already, which does as well
        line, _, status = told(*words)
    assert status == 200 and ":8386/" not in line
