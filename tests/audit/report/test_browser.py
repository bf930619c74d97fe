"""The report in a real browser: it draws, says nothing on the console, asks for nothing, and hostile text is inert.

Needs Chromium (`apt install chromium`) or Chrome; set CHROMIUM to its path where it isn't found.
"""

import json
import os
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from unembed_audit.report.page import page
from unembed_audit.report.summary import summarise

BROWSER = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt install chromium, or set CHROMIUM"),
]
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-extensions")  # fmt: skip


class Site(BaseHTTPRequestHandler):
    """Serves pages from memory and notes every path that it is asked for."""

    pages: dict[str, str]
    asked: list[str]

    def do_GET(self):
        self.server.asked.append(self.path)
        found = self.server.pages.get(self.path)
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write((found or "").encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def site():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.pages, server.asked = {}, []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def browse(site, folder, path, *more):
    """Open a page of the site; returns what is printed, the requests seen by the browser, and its console."""
    log = folder / "net.json"
    url = f"http://127.0.0.1:{site.server_address[1]}{path}"
    done = subprocess.run(
        [BROWSER, *FLAGS, f"--user-data-dir={folder}/profile", f"--log-net-log={log}", "--enable-logging=stderr",
         "--v=0", "--virtual-time-budget=3000", *more, url],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    text = log.read_text()
    try:
        net = json.loads(text)
    except ValueError:  # the log of a browser that left in a hurry lacks its end
        net = json.loads(text.rstrip().rstrip(",") + "]}")
    urls = {event["params"]["url"] for event in net["events"] if "url" in event.get("params", {})}
    return done.stdout, {one for one in urls if one.startswith(("http", "data:", "blob:", "file:", "ws"))}, console


@pytest.fixture
def hostile(make):
    rows = [
        make.row(place, id=make.hostile, text=make.hostile, collection=make.hostile, exact=False, words=0.5, missed={},
                 findings=[make.finding(right=True, value=make.hostile)], confidence=0.5)
        for place in range(3)
    ]  # fmt: skip
    given = make.conditions(place=make.hostile, kind=make.hostile, identified=make.hostile, notes=(make.hostile,))
    return page(summarise(rows, make.census, given))


def own(urls, site):
    """Requests that aren't a browser's own errands (its maker's servers can't be reached from a test anyway)."""
    return {url for url in urls if "127.0.0.1" in url or not re.search(r"google|gstatic|chrome", url)}


def test_the_report_asks_for_nothing_and_hostile_text_is_inert(site, hostile, tmp_path):
    site.pages["/report.html"] = hostile
    dom, urls, console = browse(site, tmp_path, "/report.html", "--dump-dom")
    assert console == []
    assert set(site.asked) <= {"/report.html", "/favicon.ico"} and "/report.html" in site.asked
    # An empty path is the site itself, under which the browser files its connections; it wasn't asked for one.
    paths = {url.partition("127.0.0.1")[2].partition("/")[2] for url in own(urls, site)}
    assert paths <= {"report.html", "favicon.ico", ""}
    assert "<script" not in dom and "<img" not in dom and "&lt;script&gt;alert(1)" in dom
    assert dom.count("<svg") == 2


def test_a_page_that_does_what_the_report_must_not_is_noticed(site, hostile, tmp_path):
    bad = hostile.replace("default-src 'none'; ", "").replace(
        "</body>", "<img src='/leak.png'><script>console.error('ran')</script></body>"
    )
    site.pages["/bad.html"] = bad
    _, _, console = browse(site, tmp_path, "/bad.html", "--dump-dom")
    assert "/leak.png" in site.asked and any("ran" in line for line in console)


def test_the_policy_blocks_what_gets_in_all_the_same(site, hostile, tmp_path):
    site.pages["/in.html"] = hostile.replace("</body>", "<img src='/leak.png'><script>alert(1)</script></body>")
    _, _, console = browse(site, tmp_path, "/in.html", "--dump-dom")
    assert "/leak.png" not in site.asked and any("Content Security Policy" in line for line in console)


def test_it_draws_a_picture(site, hostile, tmp_path):
    site.pages["/report.html"] = hostile
    picture = tmp_path / "report.png"
    browse(site, tmp_path, "/report.html", f"--screenshot={picture}", "--window-size=1000,1600")
    assert picture.read_bytes()[:4] == b"\x89PNG" and picture.stat().st_size > 20_000
