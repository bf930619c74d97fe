"""A whole run on the toy: figures, words, files, going on after a stop, texts that would do harm."""

import json
import re

import pytest

from unembed.errors import InputError
from unembed.testing.toy import toy_inverter, words
from unembed_defend.defences.opening import open_defence
from unembed_defend.defending import Plan, defend
from unembed_defend.preparing import UseData, chosen, embedded, prepared
from unembed_defend.report.page import page
from unembed_defend.report.summary import Cell, defence_entry, front, report_of
from unembed_defend.report.words import table, verdict
from unembed_defend.use.reading import Retrieval, SentencePairs

NAMES = ("gaussian:0.05", "permutation", "rotation", "truncate:12", "drop-text")
PLAN = Plan("words.txt", pilot=6)


def material(inverter, folder, samples=16, others=300):
    texts, rest, _ = chosen(inverter, words(2000, seed=11), samples=samples, others=others, max_tokens=5)
    return prepared(inverter, texts, rest, folder)


def run(folder, names=NAMES, plan=PLAN, *, inverter=None, **more):
    inverter = inverter or toy_inverter()
    return defend(inverter, [open_defence(name) for name in names], material(inverter, folder), folder, plan, **more)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return run(tmp_path_factory.mktemp("run") / "out")


def of(report, name):
    return next(entry for entry in report["defences"] if entry["defence"] == name)


def attacker(entry, name):
    return next(cell for cell in entry["attackers"] if cell["attacker"] == name)


def test_what_clean_vectors_give_is_measured_on_all_texts(report) -> None:
    clean = report["clean"]
    assert clean["figures"]["n"] == 16 and clean["share"] == 1 and clean["cosine"] == 1
    assert clean["figures"]["letter_accuracy"] > 0.8
    low, high = clean["figures"]["ci"]["letter_accuracy"]
    assert low <= clean["figures"]["letter_accuracy"] <= high


@pytest.mark.parametrize("name", ["permutation", "rotation", "drop-text"])
def test_what_pairs_undo_is_no_defence(report, name) -> None:
    entry = of(report, name)
    assert entry["share"] == 1 and entry["mapped"] > 0.99
    strongest = attacker(entry, entry["strongest"])
    assert strongest["same"] == "clean" and strongest["cosine"] > 0.9999
    assert "is no defence" in verdict(entry)
    assert attacker(entry, "retrained")["state"] == "doesn't apply"


def test_the_strongest_attacker_of_a_few_texts_is_measured_on_all(report) -> None:
    entry = of(report, "gaussian:0.05")
    assert {cell["figures"]["n"] for cell in entry["attackers"] if cell["figures"]} == {6, 16}
    assert entry["figures"]["n"] == 16 and attacker(entry, entry["strongest"])["figures"]["n"] == 16
    few = [cell["figures"]["letter_accuracy"] for cell in entry["attackers"] if cell["figures"]]
    assert len(few) >= 3


def test_narrower_vectors_have_no_unaware_attacker_and_every_state_has_a_reason(report) -> None:
    entry = of(report, "truncate:12")
    assert entry["cosine"] is None and 0.5 < entry["mapped"] < 1 and entry["bytes"] == 48
    assert attacker(entry, "unaware")["state"] == "doesn't apply"
    assert "24 wide" in attacker(entry, "unaware")["why"]
    for each in report["defences"]:
        for cell in each["attackers"]:
            assert cell["state"] in ("ran", "passed over", "not run", "doesn't apply") and cell["why"]


def test_what_would_be_stored_is_asked_for_where_it_can_be(report, tmp_path) -> None:
    asked = attacker(of(report, "truncate:12"), "asking")
    assert asked["state"] == "ran" and asked["figures"]["letter_accuracy"] > 0 and 0.3 < asked["cosine"] < 1
    for name, why in (("rotation", "secret"), ("gaussian:0.05", "anew"), ("drop-text", "clean vectors")):
        cell = attacker(of(report, name), "asking")
        assert cell["state"] == "doesn't apply" and why in cell["why"]
    signs = run(tmp_path / "out", ("binary", "int8"), Plan("w", pilot=0))
    cells = {cell["attacker"]: cell for cell in of(signs, "binary")["attackers"]}
    best = cells["asking"]["figures"]
    assert best["exact_match"] >= cells["unaware"]["figures"]["exact_match"] and best["n"] == 16
    assert "as good as the clean" in attacker(of(signs, "int8"), "asking")["why"]


def test_nothing_is_called_safe_that_an_attacker_was_left_out_of(report) -> None:
    entry = of(report, "truncate:12")
    assert "retrained" in entry["missing"]
    noisy = of(report, "gaussian:0.05")
    assert attacker(noisy, "told")["state"] == "not run" and "told" in noisy["missing"]  # the toy can't be told
    said = verdict({**entry, "share": 0.1})
    assert "lower bound" in said and "retrained" in said
    everyone = verdict({**entry, "share": 0.1, "missing": []})
    assert "a stronger one may exist" in everyone
    for entry in report["defences"]:
        assert "safe" not in verdict(entry)
    assert "nothing is known" in verdict({**entry, "share": None})


def test_all_on_all_searches_every_attacker(tmp_path) -> None:
    report = run(tmp_path / "out", ("gaussian:0.05",), Plan("w", pilot=0))
    cells = report["defences"][0]["attackers"]
    assert {cell["figures"]["n"] for cell in cells if cell["figures"]} == {16}
    assert not [cell for cell in cells if cell["state"] == "passed over"]


def test_use_is_measured_on_the_defended_vectors(tmp_path) -> None:
    inverter = toy_inverter()
    pool = list(dict.fromkeys(words(400, seed=2)))[:60]
    documents = {f"d{n}": word for n, word in enumerate(pool)}
    queries = {f"q{n}": pool[n] for n in range(10)}
    pairs = SentencePairs(pool[:20], pool[20:40], [float(n % 5) for n in range(20)])
    use = UseData(
        Retrieval(documents, queries, {f"q{n}": {f"d{n}": 1} for n in range(10)}),
        inverter.embed(list(documents.values())),
        inverter.embed(list(queries.values())),
        pairs,
        inverter.embed(pairs.first),
        inverter.embed(pairs.second),
    )
    report = run(tmp_path / "out", ("rotation", "gaussian:0.3"), PLAN, inverter=inverter, use=use)
    clean = report["clean"]["use"]
    assert clean["ndcg"] == 1 and clean["compared"] == 60 and report["use"] == "ndcg"
    same, noisy = of(report, "rotation"), of(report, "gaussian:0.3")
    assert same["use"]["ndcg"] == 1 and same["use"]["rho"] == pytest.approx(clean["rho"], abs=1e-6)
    assert noisy["use"]["ndcg"] < 0.9 and noisy["use_kept"] < 0.9


def test_a_run_that_was_stopped_goes_on_and_takes_further_defences(tmp_path, monkeypatch) -> None:
    whole = run(tmp_path / "whole", NAMES[:3])
    inverter, calls = toy_inverter(), []
    real = type(inverter).invert

    def stopping(self, vectors, **options):
        calls.append(len(vectors))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, vectors, **options)

    monkeypatch.setattr(type(inverter), "invert", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", NAMES[:2])
    before = calls[:]
    first = run(tmp_path / "out", NAMES[:2])
    assert not first["complete"] or len(first["defences"]) == 2
    assert calls[len(before)] != 16, "the clean vectors were searched again"
    done = len(calls)
    again = run(tmp_path / "out", NAMES[:3])
    rows = [json.loads(line) for line in (tmp_path / "out" / "records.jsonl").read_text().splitlines()]
    assert len({(row["defence"], row["attacker"], row["text"]) for row in rows}) == len(rows)
    assert len(calls) > done
    for name in NAMES[:3]:
        assert of(again, name)["figures"] == of(whole, name)["figures"]


def test_a_folder_of_other_texts_is_refused(tmp_path) -> None:
    run(tmp_path / "out", ("drop-text",))
    with pytest.raises(InputError, match=r"holds defences tried with other settings.*seed was 0 and is 1"):
        run(tmp_path / "out", ("drop-text",), Plan("w", seed=1))
    run(tmp_path / "out", ("drop-text",), Plan("w", seed=1, restart=True))


def test_files_are_the_owners_alone_and_hold_the_same_figures(tmp_path, report) -> None:
    out = tmp_path / "out"
    found = run(out, ("permutation",))
    assert {path.name for path in out.iterdir() if not path.name.startswith("embedding")} == {
        "records.jsonl", "report.html", "report.json", "settings.json"
    }  # fmt: skip
    assert json.loads((out / "report.json").read_text()) == json.loads(json.dumps(found))
    assert not [path for path in out.iterdir() if path.stat().st_mode & 0o077]
    assert found["complete"]


def test_a_page_holds_every_row_and_loads_nothing(report) -> None:
    text = page(report)
    head, rows = table(report)
    assert all(len(row) == len(head) for row in rows) and len(rows) == 1 + len(NAMES)
    for cell in (cell for row in rows for cell in row):
        assert cell.replace("'", "&#39;") in text
    assert text.count("<svg") == 1
    assert ("not beaten in both" in text) == (len(report["front"]) > 1)
    for bad in ("<script", "<link", "<img", "@import", "javascript:", "onload"):
        assert bad not in text
    assert not re.findall(r'(?:src|href|xlink:href)="(?!#)[^"]*"', text)


def test_hostile_names_and_texts_stay_texts(report) -> None:
    hostile = "</td><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}"
    entry = {**report["defences"][0], "defence": hostile, "granted": hostile, "strongest": hostile}
    entry["attackers"] = [{**cell, "attacker": hostile, "why": hostile} for cell in entry["attackers"]]
    changed = {**report, "defences": [entry, *report["defences"][1:]], "front": [hostile, NAMES[1]]}
    changed["conditions"] = {**report["conditions"], "data": hostile, "inverter": hostile}
    text = page(changed)
    assert "<script" not in text and "<img" not in text and "&lt;script&gt;" in text and "{{ 7*7 }}" in text


def test_the_front_is_what_no_other_beats() -> None:
    points = [("a", 0.1, 0.5), ("b", 0.2, 0.5), ("c", 0.2, 0.9), ("d", 1.0, 0.9), ("e", None, 1.0), ("f", 0.9, 1.0)]
    assert front(points) == ["a", "c", "f"]


def test_the_strongest_is_the_one_measured_on_the_most_texts() -> None:
    def cell(name, n, value):
        return Cell(name, "ran", "so", 0.9, {"n": n, "bleu": value, "ci": {}}, value)

    use = {"ndcg": None, "rho": None, "neighbours": None}
    entry = defence_entry(
        "d", "", [cell("lucky", 6, 0.9), cell("told", 16, 0.5), cell("unaware", 16, 0.4), Cell("x", "not run", "why")],
        cosine=1, mapped=1, use=use, size=1, metric="bleu",
    )  # fmt: skip
    assert entry["strongest"] == "told" and entry["missing"] == ["x"]
    clean = defence_entry("clean", "", [cell("clean", 16, 1.0)], cosine=1, mapped=1, use=use, size=1, metric="bleu")
    whole = report_of([clean, entry], {}, complete=True)
    assert whole["use"] is None and whole["front"] == []


def test_texts_are_cut_and_none_is_both_sought_and_known(tmp_path) -> None:
    inverter = toy_inverter()
    texts, rest, _ = chosen(inverter, words(500) * 3, samples=20, others=100, max_tokens=4)
    assert len(texts) == 20 and len(rest) == 100 and not set(texts) & set(rest)
    assert {len(text) for text in texts + rest} == {4}
    with pytest.raises(InputError, match="no text has 9 tokens"):
        chosen(inverter, words(50), samples=2, others=2, max_tokens=9)


def test_texts_that_are_too_short_are_counted() -> None:
    inverter, given = toy_inverter(), words(300)
    short = sum(len(word) < 4 for word in given)
    assert 0 < short < 250
    said = chosen(inverter, given, samples=200, others=200, max_tokens=4)[2]
    assert said == f"{short} of 300 texts are shorter than 4 tokens and left out"
    assert chosen(inverter, given, samples=200, others=200, max_tokens=None)[2] == ""


def test_vectors_that_were_embedded_are_kept(tmp_path) -> None:
    inverter = toy_inverter()
    first = embedded(inverter, words(30), tmp_path, "embedding texts")
    asked = inverter.embedder.queries
    again = embedded(inverter, words(30), tmp_path, "embedding texts")
    assert inverter.embedder.queries == asked and (first == again).all()
    assert (first - inverter.embed(words(30))).abs().max() < 1e-6
    embedded(inverter, words(31), tmp_path, "embedding texts")
    assert inverter.embedder.queries > asked
