"""The line of visitors, and what a page shows of a search."""

import threading

import pytest

from unembed.errors import InputError, ServiceError
from unembed_web.line import Line
from unembed_web.reading import pasted
from unembed_web.watching import changes


@pytest.fixture
def line():
    made = Line(most=3)
    yield made
    made.close()


class Visitor:
    """Collects what it is told, and whose work waits until it may end."""

    def __init__(self, line: Line, work=None) -> None:
        self.told, self.done, self.begun, self.may_end = [], threading.Event(), threading.Event(), threading.Event()
        self.work = work
        self.job = line.join(self._work, self._send)

    def _work(self, job) -> None:
        self.begun.set()
        if self.work is not None:
            self.work(job)
        while not self.may_end.wait(0.01):
            job.check()
        job.send("result")

    def _send(self, event) -> None:
        if event is None:
            self.done.set()
        else:
            self.told.append(event)


def test_each_waits_for_those_before(line) -> None:
    first = Visitor(line)
    assert first.begun.wait(5)
    second, third = Visitor(line), Visitor(line)
    assert second.told == [("waiting", {"before": 1})] and third.told == [("waiting", {"before": 2})]
    first.may_end.set()
    assert second.begun.wait(5) and not third.begun.is_set()
    assert third.told[-1] == ("waiting", {"before": 1})
    second.may_end.set()
    third.may_end.set()
    assert third.done.wait(5)
    assert [one.told[-1][0] for one in (first, second, third)] == ["result"] * 3


def test_who_cancels_while_waiting_never_begins(line) -> None:
    first = Visitor(line)
    assert first.begun.wait(5)
    second, third = Visitor(line), Visitor(line)
    second.job.cancel()
    first.may_end.set()
    assert second.done.wait(5) and third.begun.wait(5)
    assert not second.begun.is_set() and second.told[-1] == ("cancelled", {})
    third.may_end.set()


def test_a_full_line_takes_nobody_until_one_goes(line) -> None:
    first = Visitor(line)
    assert first.begun.wait(5)
    waiting = [Visitor(line) for _ in range(3)]
    with pytest.raises(ServiceError, match="3 visitors wait"):
        Visitor(line)
    waiting[1].job.cancel()
    Visitor(line)
    assert waiting[1].told[-1][0] == "cancelled"


@pytest.mark.parametrize(
    ("error", "message"), [(InputError("a line\nof two"), "a line of two"), (KeyError("x"), "KeyError: 'x'")]
)
def test_an_error_ends_its_own_job_alone(line, error, message) -> None:
    def fail(job) -> None:
        raise error

    failed, next_one = Visitor(line, fail), Visitor(line)
    next_one.may_end.set()
    assert next_one.done.wait(5)
    assert failed.told[-1] == ("failed", {"message": message}) and next_one.told[-1][0] == "result"


def test_a_closed_line_cancels_all(line) -> None:
    first = Visitor(line)
    assert first.begun.wait(5)
    second = Visitor(line)
    assert line.close(5)
    assert first.done.wait(5) and second.done.wait(5)
    assert first.told[-1][0] == second.told[-1][0] == "cancelled" and not second.begun.is_set()


def test_a_line_whose_work_goes_on_says_so(line) -> None:
    release = threading.Event()
    stubborn = Visitor(line, lambda job: release.wait(5))
    assert stubborn.begun.wait(5)
    assert not line.close(0.05)
    release.set()
    assert line.close(5)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (None, "the cat", [(False, "the cat")]),
        ("the cat", "the cat", [(False, "the cat")]),
        ("the cat sat", "the dog sat", [(False, "the "), (True, "dog"), (False, " sat")]),
        ("the cat", "the big cat.", [(False, "the "), (True, "big"), (False, " cat"), (True, ".")]),
        ("a cat", "the big cat", [(True, "the big"), (False, " cat")]),
        ("the big cat", "the cat", [(False, "the cat")]),
    ],
)
def test_changes_are_whole_words(before, now, expected) -> None:
    found = changes(before, now)
    assert "".join(piece for _, piece in found) == now
    assert found == expected


@pytest.mark.parametrize(
    "text", ["call 5 6 7", "1 2 3", "", "[", "(555) 0187", "1 " * 15, "[" + "1, " * 20 + "x]", "20 mg " * 9]
)
def test_a_text_with_numbers_is_a_text(text) -> None:
    assert pasted(text) is None


@pytest.mark.parametrize("text", ["[{}]", "{}", "[[{}], [1, 2]]", "array([{}])"[5:], " [\n {} \n]\n"])
def test_numbers_alone_are_a_vector(text) -> None:
    numbers = [-0.5, 1e-3, *range(20)]
    assert pasted(text.format(", ".join(map(str, numbers)))).tolist() == pytest.approx(numbers)
