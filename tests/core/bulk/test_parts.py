"""Parts: whole or not there, of one run, and nobody else's folder is touched."""

import json

import pyarrow.parquet as pq
import pytest

from unembed.bulk.parts import RUN, Parts
from unembed.errors import InputError, OutputError

MINE = {"inputs": "0" * 8, "settings": "1" * 8}


def rows(first, count):
    return [{"index": n, "reconstruction": f"word {n}", "similarity": 1.0} for n in range(first, first + count)]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_parts_say_which_block_they_hold_and_are_found_again(tmp_path) -> None:
    folder = tmp_path / "new" / "parts"
    with Parts(folder, **MINE) as parts:
        assert parts.begin(4) == 4 and parts.first_missing() == 0
        parts.append(4, rows(4, 4))
        parts.append(8, rows(8, 2))
    assert names(folder) == [RUN, "rows-000000000004-000000000008.parquet", "rows-000000000008-000000000010.parquet"]
    with Parts(folder, **MINE) as parts:
        assert parts.begin(64) == 4 and set(parts.done) == {4, 8} and parts.count == 6 and parts.first_missing() == 0
        parts.append(0, rows(0, 4))
        assert parts.first_missing() == 10
    table = pq.read_table(folder).sort_by("index")
    assert table["index"].to_pylist() == list(range(10))


def test_what_a_kill_left_half_written_goes(tmp_path) -> None:
    with Parts(tmp_path, **MINE) as parts:
        parts.begin(4)
    (tmp_path / ".rows-000000000000-000000000004.parquet.tmp").write_bytes(b"PAR1 and no more")
    with Parts(tmp_path, **MINE) as parts:
        assert not parts.done
    assert names(tmp_path) == [RUN]


@pytest.mark.parametrize("other", [{"inputs": "2" * 8}, {"settings": "2" * 8}])
def test_another_run_is_refused_until_it_restarts(tmp_path, other) -> None:
    with Parts(tmp_path, **MINE) as parts:
        parts.begin(4)
        parts.append(0, rows(0, 4))
    with pytest.raises(InputError, match=f"other {next(iter(other))}"), Parts(tmp_path, **MINE | other):
        pass
    assert len(names(tmp_path)) == 2
    with Parts(tmp_path, **MINE | other, restart=True) as parts:
        assert not parts.done and parts.begin(8) == 8
    assert json.loads((tmp_path / RUN).read_text())["block"] == 8 and names(tmp_path) == [RUN]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("name", ["notes.txt", "rows.parquet", "rows-000000000000-000000000004.parquet", RUN])
def test_a_strangers_folder_is_left_alone(tmp_path, name, restart) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=r"wasn't written by|isn't ours"), Parts(tmp_path, **MINE, restart=restart):
        pass
    assert names(tmp_path) == [name] and (tmp_path / name).read_text() == "mine"


def test_a_file_is_no_folder_of_parts(tmp_path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="folder"), Parts(tmp_path / "file", **MINE):
        pass


def test_two_jobs_in_one_folder_are_refused(tmp_path) -> None:
    with Parts(tmp_path, **MINE) as parts:
        parts.begin(4)
        with pytest.raises(InputError, match="another process"), Parts(tmp_path, **MINE):
            pass


def test_a_part_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch) -> None:
    with Parts(tmp_path, **MINE) as parts:
        parts.begin(4)

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("unembed.bulk.parts.os.replace", full)
        with pytest.raises(OutputError, match=r"No space left.*rows so far are kept"):
            parts.append(0, rows(0, 4))
    assert names(tmp_path) == [RUN]
