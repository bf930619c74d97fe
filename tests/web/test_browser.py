"""The page in a real browser, driven over a pipe; see `conftest`."""

import json
import pickle

import numpy as np
import pytest

from unembed.testing.toy import toy_inverter

pytestmark = pytest.mark.slow

NOBODY = json.dumps([0.5 if place % 3 else -0.7 for place in range(24)])
DONE = "document.querySelector('#status').innerText.startsWith('Done')"
STEPS = "document.querySelectorAll('#steps > li').length"


@pytest.fixture
def visit(browser):
    tabs = []

    def begin(served, path: str = "/", **options):
        tabs.append(browser.open(served.url + path, **options))
        return tabs[-1]

    yield begin
    for tab in tabs:
        tab.close()


def ask(tab, text: str, effort: str = "low") -> None:
    tab.js(f"document.querySelector('#effort').value = '{effort}'; document.querySelector('#input').focus()")
    tab.type(text)
    tab.press("Enter")


def choose(tab, name: str) -> None:
    tab.js(f"const s = document.querySelector('#inverter'); s.value = {name!r}; s.dispatchEvent(new Event('change'))")


def quiet(tab, served) -> None:
    """Nothing on the console, nothing asked of anybody else."""
    assert tab.console == []
    assert all(url.startswith((served.url + "/", "data:image/")) for url in tab.requests), tab.requests


def test_a_typed_text_is_recovered_step_by_step(serve, visit) -> None:
    served = serve("toy")
    tab = visit(served)
    ask(tab, "bccb")
    tab.until(DONE)
    assert tab.js(STEPS) == 3 and tab.text("#best .text") == "bccb" and tab.text("#best .badge.exact") == "✓ exact"
    assert "bccb" in tab.text("#best .original")
    assert tab.text("#steps > li:nth-child(2) ins") == "gccb"  # what changed
    assert tab.js("document.querySelectorAll('#steps > li:first-child ins').length") == 0
    assert tab.text("[data-figure=similarity]") == "1.0000" and tab.text("[data-figure=step]") == "2"
    assert int(tab.text("[data-figure=queries]")) > 5
    assert tab.js("document.querySelectorAll('#curve circle').length") == 3
    assert tab.js("document.querySelector('#curve svg').getAttribute('aria-label')").startswith(
        "Similarity by step: 0: 0.8"
    )
    tab.click("#steps > li:nth-child(3) summary")
    assert tab.text("#steps > li:nth-child(3) .proposals li:first-child .tag") == "correct"
    quiet(tab, served)


def test_a_dropped_file_gives_a_choice_of_vectors(serve, visit, tmp_path) -> None:
    served = serve("toy")
    tab = visit(served)
    np.save(tmp_path / "mine.npy", toy_inverter().embed(["cafe", "bccb", "head"]).numpy())
    tab.drop(tmp_path / "mine.npy")
    tab.until("!document.querySelector('#dropped').hidden")
    assert "3 vectors, 24 wide" in tab.text("#dropped")
    tab.js("document.querySelector('#which').value = 2; document.querySelector('#effort').value = 'low'")
    tab.click("#go")
    tab.until(DONE)
    assert tab.text("#best .text") == "bccb" and tab.js("document.querySelector('.badge.exact')") is None
    tab.click("#dropped button")
    assert tab.js("document.querySelector('#dropped').hidden && !document.querySelector('#input').hidden")
    tab.choose(tmp_path / "mine.npy")
    tab.until("!document.querySelector('#dropped').hidden")
    quiet(tab, served)


@pytest.mark.parametrize("how", ["click", "key"])
def test_a_search_is_cancelled(serve, visit, how) -> None:
    served = serve("slow")
    tab = visit(served)
    ask(tab, NOBODY, "exhaustive")
    tab.until(f"{STEPS} > 0")
    tab.click("#cancel") if how == "click" else tab.press("Escape")
    tab.until("document.querySelector('#status').innerText === 'Cancelled'", 5)
    assert tab.js("document.activeElement.id") == "input"
    before = tab.js(STEPS)
    tab.js("document.querySelector('#input').value = ''")
    ask(tab, "cafe")  # the line is free again
    tab.until(DONE)
    assert tab.text("#best .text") == "cafe" and tab.js(STEPS) <= before + 5
    quiet(tab, served)


def test_two_visitors_wait_in_line(serve, visit) -> None:
    served = serve("slow", "toy")
    first, second = visit(served), visit(served)
    ask(first, NOBODY, "exhaustive")
    first.until(f"{STEPS} > 0")
    choose(second, "toy")
    ask(second, "cafe")
    second.until("/^Waiting: \\d before you$/.test(document.querySelector('#status').innerText)")
    first.click("#cancel")
    second.until(DONE)
    assert second.text("#best .text") == "cafe"


def test_an_error_is_one_line(serve, visit, tmp_path) -> None:
    served = serve("toy", "broken")
    tab = visit(served)
    ask(tab, "no word")
    said = tab.until("!document.querySelector('#error').hidden && document.querySelector('#error').innerText")
    assert "isn't a word over" in said and "\n" not in said and tab.text("#status") == ""
    np.save(tmp_path / "wide.npy", np.ones((2, 30), np.float32))
    tab.drop(tmp_path / "wide.npy")
    tab.until("!document.querySelector('#dropped').hidden && document.querySelector('#error').hidden")
    tab.click("#go")
    said = tab.until("!document.querySelector('#error').hidden && document.querySelector('#error').innerText")
    assert "30 wide" in said and "24 wide" in said and "\n" not in said
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps([1]))
    tab.drop(tmp_path / "bad.pkl")
    tab.until("document.querySelector('#error').innerText.includes('bad.pkl is a pickle')")
    choose(tab, "broken")
    tab.until("document.querySelector('#about').innerText.includes('its weights are <b>gone</b>')")
    assert tab.js("document.querySelectorAll('main b').length") == 0


def test_a_server_that_has_gone_is_noticed(serve, visit) -> None:
    served = serve("toy")
    tab = visit(served)
    tab.until("document.querySelector('#about').dataset.state === 'ready'")
    tab.js("window.fetch = () => Promise.reject(new TypeError('gone'))")
    ask(tab, "cafe")
    said = tab.until("!document.querySelector('#error').hidden && document.querySelector('#error').innerText")
    assert "can't be reached" in said


HOSTILE = "<img src=/leak.png onerror=alert(1)><script>alert(2)</script>"


def test_hostile_texts_stay_texts(serve, visit, audit) -> None:
    finding = [{"kind": HOSTILE, "value": HOSTILE}]
    rows = [audit.record(n, id=HOSTILE, text=HOSTILE, collection=HOSTILE, findings=finding) for n in range(2)]
    served = serve("hostile", audits=[audit(rows, shown=True, name="audit<b>")])
    tab = visit(served)
    ask(tab, HOSTILE + "bccb")
    tab.until(DONE)
    assert tab.text("#best .text") == HOSTILE + "bccb" and HOSTILE in tab.text("#about")
    tab.click("#tab-audits")
    tab.until("document.querySelectorAll('#records tbody tr').length === 2")
    tab.click("#show-texts")
    tab.until(f"document.querySelector('#records td.text').innerText === {json.dumps(HOSTILE)}")
    assert tab.js("document.querySelectorAll('main img, main script, main b:not(.cards b)').length") == 0
    assert tab.js("document.scripts.length") == 1
    assert not [url for url in tab.requests if "leak" in url]
    quiet(tab, served)


def test_what_the_page_must_not_do_is_noticed(serve, visit) -> None:
    """The tests above could not fail if these two didn't tell."""
    served = serve("toy")
    tab = visit(served)
    tab.js("document.body.append(Object.assign(new Image(), {src: '/leak.png'}))")
    tab.until("performance.getEntriesByType('resource').some((one) => one.name.includes('leak'))")
    assert any("leak" in url for url in tab.requests)
    blocked = tab.js("try { document.body.innerHTML = '<b>x</b>'; 'set' } catch (error) { error.name }")
    assert blocked == "TypeError"  # the page's policy asks for trusted types
    tab.js("fetch('http://127.0.0.1:9/').catch(() => 0)")
    tab.until("true")
    assert any("Content Security Policy" in line for line in tab.console)


def test_pictures_stand_side_by_side(serve, visit, tmp_path) -> None:
    served = serve("painted")
    tab = visit(served)
    tab.until("document.querySelector('#input').placeholder.startsWith('Drop an image')")
    (tmp_path / "mine.png").write_bytes(b"bccb")
    tab.drop(tmp_path / "mine.png")
    tab.until("!document.querySelector('#dropped').hidden")
    tab.js("document.querySelector('#effort').value = 'low'")
    tab.click("#go")
    tab.until(DONE)
    left, right = tab.js("[...document.querySelectorAll('#best img')].map((one) => [one.alt, one.src, one.offsetTop])")
    assert (left[0], right[0]) == ("original", "reconstruction") and left[1] == right[1] and left[2] == right[2]
    assert tab.js("document.querySelectorAll('#steps summary img').length") == 3
    assert all(url.startswith((served.url + "/", "data:image/")) for url in tab.requests)


def test_records_of_an_audit_are_masked_until_asked(serve, visit, audit) -> None:
    rows = [audit.record(n, **({"findings": []} if n % 2 else {})) for n in range(60)]
    hidden = [audit.record(0, text="call j███")]
    served = serve("toy", audits=[audit(rows, shown=True), audit(hidden, shown=False, name="masked")])
    tab = visit(served, "/#audits")
    tab.until("document.querySelectorAll('#records tbody tr').length === 30")
    assert "50 %" in tab.text(".cards") and "notes.lance" in tab.text("#audits h2")
    assert "jane" not in tab.js("document.documentElement.innerText") and "████" in tab.text("#records td.text")
    tab.click("#show-texts")
    tab.until("document.querySelector('#records td.text')?.innerText.includes('jane doe')")
    tab.click("#with-findings")
    tab.until("document.querySelectorAll('#records tbody tr').length === 50")
    tab.js("[...document.querySelectorAll('#audits button')].find((one) => one.innerText === 'Next').click()")
    tab.until("document.querySelectorAll('#records tbody tr').length === 10")
    tab.js("const s = document.querySelector('#audit'); s.value = 1; s.dispatchEvent(new Event('change'))")
    tab.until("document.querySelector('#records td.text')?.innerText === 'call j███'")
    assert tab.js("document.querySelector('#show-texts')") is None
    quiet(tab, served)


def test_it_works_by_keyboard_alone(serve, visit) -> None:
    served = serve("toy")
    tab = visit(served)
    assert tab.js("document.activeElement.id") == "input"
    tab.type("cafe")
    reached = []
    for _ in range(4):
        tab.press("Tab")
        reached.append(tab.js("document.activeElement.id"))
    assert reached == ["inverter", "effort", "file", "go"]
    tab.press("Enter")
    tab.until(DONE)
    tab.press("Tab")
    assert tab.js("document.activeElement.tagName") == "SUMMARY"
    tab.press("Enter")
    assert tab.js("document.querySelector('#steps details').open")
    tab.js("document.querySelector('#tab-invert').focus()")
    tab.press("ArrowRight")
    assert tab.js("document.activeElement.id") == "tab-audits" and not tab.js(
        "document.querySelector('#audits').hidden"
    )
    assert tab.js("document.querySelector('#invert').hidden") and "unembed web audit-of" in tab.text("#audits")
    tab.press("ArrowLeft")
    assert not tab.js("document.querySelector('#invert').hidden")


CONTRAST = """
(() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((one) => one / 255).map(
    (one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, place) => sum + one * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (one) => { for (; one; one = one.parentElement) {
    const found = numbers(getComputedStyle(one).backgroundColor);
    if (found.length < 4 || found[3] > 0) return found;
  } return [255, 255, 255]; };
  return [...document.querySelectorAll('main :is(p, span, dt, dd, label, button, ins, td, th, summary, b)')]
    .filter((one) => one.offsetParent && one.innerText?.trim() && !one.disabled)
    .map((one) => [light(numbers(getComputedStyle(one).color)), light(behind(one)), one.outerHTML.slice(0, 80)])
    .map(([a, b, what]) => [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), what]);
})()
"""


@pytest.mark.parametrize("dark", [False, True])
def test_it_can_be_read_in_light_and_dark_and_fits_a_phone(serve, visit, audit, dark, tmp_path) -> None:
    rows = [audit.record(n, text="ab" * 200, id="x" * 90) for n in range(2)]
    served = serve("toy", audits=[audit(rows, shown=True)])
    tab = visit(served, dark=dark, width=360, height=740)
    ask(tab, "gcfaabf")
    tab.until(DONE)
    paper = tab.js("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") is not dark
    for name in ("invert", "audits"):
        tab.click(f"#tab-{name}")
        if name == "audits":
            tab.until("document.querySelectorAll('#records tbody tr').length === 2")
            tab.click("#show-texts")
            tab.until("document.querySelector('#records td.text').innerText.startsWith('abab')")
        contrasts = tab.js(CONTRAST)
        assert len(contrasts) > 8 and not [one for one in contrasts if one[0] < 4.5]
        assert tab.js("document.documentElement.scrollWidth") <= 360
        small = tab.js(
            "[...document.querySelectorAll('button, select')]"
            ".filter((one) => one.offsetParent && one.offsetHeight < 34).map((one) => one.outerHTML)"
        )
        assert small == []
    tab.picture(tmp_path / "phone.png")
    assert (tmp_path / "phone.png").read_bytes()[:4] == b"\x89PNG"
