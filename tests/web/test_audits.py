"""Folders of audits: masked until somebody asks, read as they grow."""

import json

import pytest

from unembed.errors import InputError
from unembed_web.audits import Audit


def test_texts_are_masked_until_asked(audit) -> None:
    opened = Audit(audit([audit.record(n) for n in range(3)], shown=True))
    told = opened.records(0, 10, show=False, found=False)
    assert told["total"] == 3 and told["rows"][0]["text"] == "████ ████ ███ ██ ███-███-████"
    assert told["rows"][0]["findings"][0]["value"] == "███-███-████" and "555" not in json.dumps(told)
    assert opened.records(0, 10, show=True, found=False)["rows"][1]["text"] == "call jane doe on 212-555-0101"
    assert "jane" not in json.dumps(opened.figures())  # a report's examples hold texts


def test_an_audit_that_masked_shows_what_it_wrote(audit) -> None:
    opened = Audit(audit([audit.record(0, text="call j███ ███")], shown=False))
    assert opened.figures()["shown"] is False
    assert opened.records(0, 10, show=False, found=False)["rows"][0]["text"] == "call j███ ███"


def test_where_nothing_says_that_records_are_masked_they_are_masked_here(audit) -> None:
    folder = audit([audit.record(0)], shown=True, report=False)
    (folder / "settings.json").unlink()
    opened = Audit(folder)
    assert opened.figures()["report"] is None
    assert "jane" not in json.dumps(opened.records(0, 10, show=False, found=False))


def test_records_come_by_pages_and_with_findings_alone(audit) -> None:
    rows = [audit.record(n, **({} if n % 2 else {"findings": []})) for n in range(9)]
    opened = Audit(audit(rows, shown=True))
    told = opened.records(2, 3, show=False, found=False)
    assert (told["start"], told["total"]) == (2, 9) and [row["id"] for row in told["rows"]] == ["id-2", "id-3", "id-4"]
    told = opened.records(1, 9, show=False, found=True)
    assert told["total"] == 4 and [row["id"] for row in told["rows"]] == ["id-3", "id-5", "id-7"]
    assert opened.records(50, 9, show=False, found=True)["rows"] == []
    assert opened.figures()["with_findings"] == 4


def test_a_running_audit_grows_and_its_half_line_waits(audit) -> None:
    folder = audit([audit.record(0)], shown=True)
    opened = Audit(folder)
    assert opened.figures()["records"] == 1
    line = json.dumps(audit.record(1))
    with open(folder / "records.jsonl", "a", encoding="utf-8") as file:
        file.write(line[:30])
    assert opened.figures()["records"] == 1
    with open(folder / "records.jsonl", "a", encoding="utf-8") as file:
        file.write(line[30:] + "\n")
    assert opened.records(0, 5, show=True, found=False)["total"] == 2


def test_what_is_no_audit_is_refused(tmp_path, audit) -> None:
    with pytest.raises(InputError, match="no audit's folder"):
        Audit(tmp_path)
    folder = audit([audit.record(0)], shown=True)
    (folder / "report.json").write_text("{")
    with pytest.raises(InputError, match=r"report\.json of audit-notes can't be read"):
        Audit(folder).figures()
    (folder / "records.jsonl").unlink()
    (folder / "report.json").write_text("{}")
    assert Audit(folder).records(0, 5, show=False, found=False)["rows"] == []


def test_the_server_reads_no_other_folder(serve, audit) -> None:
    served = serve("toy", audits=[audit([audit.record(0)], shown=True)])
    assert json.loads(served.ask("GET", "/api/state")[2])["audits"] == [{"name": "audit-notes"}]
    assert json.loads(served.ask("GET", "/api/audits/0/records?show=1")[2])["rows"][0]["text"].startswith("call jane")
    for path in ("/api/audits/1", "/api/audits/-1", "/api/audits/x", "/api/audits/..%2f", "/api/audits/1/records"):
        assert served.ask("GET", path)[0] == 404
    assert served.ask("GET", "/api/audits/0/records?start=x")[0] == 400
