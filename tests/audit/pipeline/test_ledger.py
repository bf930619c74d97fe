"""Rows survive a kill; audits with other settings aren't mixed."""

import json
import os
import random
import stat

import pytest

from unembed.errors import InputError
from unembed_audit.pipeline.ledger import Ledger, read_rows

SETTINGS = {"source": "store", "seed": 0, "effort": "low"}


def row(number):
    return {"collection": "tickets", "row": number, "text": f"naïve text {number}"}


def test_a_row_is_on_disk_when_append_returns(tmp_path):
    with Ledger(tmp_path / "out", SETTINGS) as ledger:
        ledger.append(row(1))
        assert list(read_rows(tmp_path / "out")) == [row(1)]


def test_fifty_kills_lose_nothing_and_repeat_nothing(tmp_path):
    """A kill leaves the file cut anywhere after its last whole row: cut it so, fifty times."""
    draw = random.Random(0)
    wanted = range(200)
    for _ in range(50):
        with Ledger(tmp_path, SETTINGS) as ledger:
            left = [number for number in wanted if ("tickets", number) not in ledger.done]
            for number in left[:4]:
                ledger.append(row(number))
        path = tmp_path / "records.jsonl"
        data = path.read_bytes()
        last = data[:-1].rfind(b"\n") + 1
        if draw.random() < 0.8:
            os.truncate(path, draw.randrange(last, len(data)))
    with Ledger(tmp_path, SETTINGS) as ledger:
        for number in wanted:
            if ("tickets", number) not in ledger.done:
                ledger.append(row(number))
    rows = [one["row"] for one in read_rows(tmp_path)]
    assert sorted(rows) == list(wanted)


@pytest.mark.parametrize("change", [{"effort": "high"}, {"seed": 1}, {"new": True}])
def test_other_settings_are_refused_and_named(tmp_path, change):
    with Ledger(tmp_path, SETTINGS):
        pass
    with pytest.raises(InputError, match=next(iter(change))):
        Ledger(tmp_path, {**SETTINGS, **change})


def test_restart_begins_anew(tmp_path):
    with Ledger(tmp_path, SETTINGS) as ledger:
        ledger.append(row(1))
    with Ledger(tmp_path, {**SETTINGS, "seed": 9}, restart=True) as ledger:
        assert ledger.done == set()
    assert list(read_rows(tmp_path)) == []


def test_a_damaged_row_within_the_file_is_an_error_and_not_skipped(tmp_path):
    with Ledger(tmp_path, SETTINGS) as ledger:
        ledger.append(row(1))
    (tmp_path / "records.jsonl").write_text('{"collection": "tickets", "ro\n' + json.dumps(row(2)) + "\n")
    with pytest.raises(InputError, match="line 1"):
        Ledger(tmp_path, SETTINGS)


def test_records_without_settings_are_refused(tmp_path):
    (tmp_path / "records.jsonl").write_text(json.dumps(row(1)) + "\n")
    with pytest.raises(InputError, match="without settings"):
        Ledger(tmp_path, SETTINGS)


@pytest.mark.skipif(os.name == "nt", reason="file modes are POSIX's")
def test_only_the_owner_reads(tmp_path):
    with Ledger(tmp_path / "out", SETTINGS) as ledger:
        ledger.append(row(1))
    for path in (tmp_path / "out", *(tmp_path / "out").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
