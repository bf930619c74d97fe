"""Plain data out of a pickle, walked opcode by opcode and never loaded: nothing in it is imported or called.

Numbers, texts, bytes, lists, tuples, sets and dictionaries come out as they are. An object of any class is a `Shell`
that holds what its pickle says of it.
"""

import pickletools
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np

from unembed.errors import InputError

__all__ = ["Shell", "walk"]

_DEEPEST = 1_000_000
_OPCODES = {op.code: op for op in pickletools.opcodes}


@dataclass(eq=False)
class Shell:
    """What a pickle says of an object: its class's name, what it is made from, its state. No such object exists."""

    name: str
    arguments: Any = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)

    def attributes(self) -> dict[str, Any]:
        """The attributes in the state, whether of a plain object or of a pydantic model."""
        state = self.state[0] if isinstance(self.state, tuple) and self.state else self.state
        if isinstance(state, dict):
            inner = state.get("__dict__")
            return inner if isinstance(inner, dict) else state
        return {}


_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set, "EMPTY_TUPLE": tuple}
_VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "STRING", "BINSTRING",
    "SHORT_BINSTRING",
}  # fmt: skip
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def walk(data: bytes, what: str = "the pickle") -> Any:
    """The value of a pickle; raises InputError for opcodes beyond plain data and for what is cut or damaged."""
    try:
        return _walked(data)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, EOFError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{what} isn't a pickle of plain data, or is damaged: {error or type(error).__name__}"
        ) from error


class _Stack(list[Any]):
    """The machine's stack, and where its marks are."""

    def __init__(self) -> None:
        super().__init__()
        self.marks: list[int] = []

    def to_mark(self) -> list[Any]:
        """Take everything after the last mark, and the mark."""
        if not self.marks:
            raise ValueError("a mark is missing")
        at = self.marks.pop()
        parts = self[at:]
        del self[at:]
        return parts


def _walked(data: bytes) -> Any:
    file = BytesIO(data)
    stack = _Stack()
    memo: dict[int, Any] = {}
    while True:
        at = file.tell()
        code = file.read(1)
        if code == b"G":
            stack.extend(_floats(data, at, file))
            continue
        op = _OPCODES.get(code.decode("latin-1"))
        if op is None:
            raise ValueError(f"no opcode {code!r} at byte {at}")
        argument = op.arg.reader(file) if op.arg is not None else None
        if op.name == "STOP":
            return stack.pop()
        if len(stack) > _DEEPEST:
            raise ValueError("its stack grows without end")
        _step(op.name, argument, stack, memo)


def _floats(data: bytes, at: int, file: BytesIO) -> list[float]:
    """A run of BINFLOAT opcodes at once: each is the letter G and a big-endian double."""
    count = (len(data) - at) // 9
    run = np.frombuffer(data, np.dtype([("op", "u1"), ("value", ">f8")]), count, at)
    other = np.flatnonzero(run["op"] != ord("G"))
    length = int(other[0]) if len(other) else count
    if not length:
        raise ValueError("it ends within a number")
    file.seek(at + 9 * length)
    found: list[float] = run["value"][:length].tolist()
    return found


def _step(name: str, argument: Any, stack: _Stack, memo: dict[int, Any]) -> None:
    if name in _VALUES:
        stack.append(argument)
    elif name in _CONSTANTS:
        stack.append(_CONSTANTS[name])
    elif name in _EMPTY:
        stack.append(_EMPTY[name]())
    elif name == "MARK":
        stack.marks.append(len(stack))
    elif name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
        memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
    elif name in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif name == "POP" and stack.marks and stack.marks[-1] == len(stack):
        stack.marks.pop()
    elif name == "POP":
        stack.pop()
    elif name == "DUP":
        stack.append(stack[-1])
    elif name not in ("PROTO", "FRAME"):
        _build(name, argument, stack)


def _build(name: str, argument: Any, stack: _Stack) -> None:
    """Opcodes that put values together."""
    if name in _TUPLES:
        parts = [stack.pop() for _ in range(_TUPLES[name])]
        stack.append(tuple(reversed(parts)))
    elif name in ("TUPLE", "LIST", "DICT", "FROZENSET", "POP_MARK"):
        parts = stack.to_mark()
        if name != "POP_MARK":
            stack.append(_together(name, parts))
    elif name == "APPEND":
        value = stack.pop()
        _extend(stack[-1], [value])
    elif name in ("APPENDS", "ADDITEMS"):
        parts = stack.to_mark()
        _extend(stack[-1], parts)
    elif name == "SETITEM":
        value, key = stack.pop(), stack.pop()
        _set(stack[-1], [key, value])
    elif name == "SETITEMS":
        parts = stack.to_mark()
        _set(stack[-1], parts)
    elif name == "GLOBAL":
        stack.append(Shell(str(argument).replace(" ", ".")))
    elif name == "STACK_GLOBAL":
        attribute, module = stack.pop(), stack.pop()
        if not isinstance(attribute, str) or not isinstance(module, str):
            raise ValueError("a class is named by what is no text")
        stack.append(Shell(f"{module}.{attribute}"))
    elif name in ("REDUCE", "NEWOBJ"):
        arguments, made = stack.pop(), stack.pop()
        stack.append(Shell(made.name, arguments))
    elif name == "NEWOBJ_EX":
        _, arguments, made = stack.pop(), stack.pop(), stack.pop()
        stack.append(Shell(made.name, arguments))
    elif name == "BUILD":
        state = stack.pop()
        stack[-1].state = state
    else:
        raise ValueError(f"it uses {name}, which plain data doesn't need")


def _together(name: str, parts: list[Any]) -> Any:
    if name == "DICT":
        return dict(zip(parts[::2], parts[1::2], strict=True))
    return {"TUPLE": tuple, "LIST": list, "FROZENSET": frozenset}[name](parts)


def _extend(target: Any, parts: list[Any]) -> None:
    if isinstance(target, set):
        target.update(parts)
    elif isinstance(target, Shell):
        target.items.extend(parts)
    else:
        target.extend(parts)


def _set(target: Any, parts: list[Any]) -> None:
    if isinstance(target, Shell):
        target.items.extend(parts)
    else:
        target.update(zip(parts[::2], parts[1::2], strict=True))
