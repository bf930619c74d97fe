"""Which Arrow column holds the vectors, and its numbers as one array."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unembed.errors import InputError
from unembed.sources.cells import vector_like
from unembed.sources.records import RecordBatch, SkippedRow, SourceRequest
from unembed.sources.rows import Row, batches_of, choose, id_field, listed, text_field
from unembed.sources.wide import wide_groups

__all__ = ["Layout", "batches_from", "layout_of"]


@dataclass(frozen=True)
class Layout:
    """Which columns are what: `vector` is one column, or many of one number each."""

    vector: tuple[str, ...]
    id: str | None
    text: str | None
    payload: tuple[str, ...]
    note: str = ""

    @property
    def columns(self) -> list[str]:
        """All columns to read."""
        return list(dict.fromkeys([*self.vector, *filter(None, (self.id, self.text)), *self.payload]))


def layout_of(
    place: str, schema: Any, sample: Callable[[Sequence[str]], Any], request: SourceRequest, *, kind: str = "column"
) -> Layout:
    """What the columns of a schema are, told from their types and `sample(columns)`, a few rows of some of them."""
    import pyarrow as pa

    types = dict(_leaves(schema, ""))
    lists = [name for name, type_ in types.items() if _is_numbers(type_)]
    texts = [name for name, type_ in types.items() if _is_text(type_)]
    simple = [name for name, type_ in types.items() if pa.types.is_primitive(type_) or _is_text(type_)]
    if request.column is not None:
        group = [request.column] if request.column in types else _group(place, types, request, lists, texts)
    else:
        widths = _widths(types, sample, lists, texts)
        groups = wide_groups([name for name, type_ in types.items() if _is_number(type_)])
        if not widths and groups:
            group = _one_group(place, groups, request)
        else:
            group = [choose(place, kind, widths, list(schema.names), request)]
    vector = group[0]
    if len(group) == 1 and not (vector in lists or vector in texts or _is_other_list(types[vector])):
        raise InputError(f"{place}: column {vector!r} is {_named(types[vector])}, not a list of numbers")
    if len(group) == 1 and _is_text(types[vector]) and request.column is not None:
        _check_text(place, vector, types[vector], sample)
    taken = set(group)
    beside = [name for name in simple if name not in taken]
    id_, text = id_field(beside, vector), text_field([name for name in beside if name in texts], vector)
    payload = (
        [n for n in beside if n not in (id_, text) and not pa.types.is_binary(types[n])] if request.payloads else []
    )
    note = f"vectors are {len(group)} columns, {group[0]} to {group[-1]}" if len(group) > 1 else ""
    return Layout(tuple(group), id_, text if request.payloads else None, tuple(payload[:64]), note)


def _leaves(fields: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Columns by their dotted names, with the storage type of extensions and dictionaries."""
    import pyarrow as pa

    for field in fields:
        type_ = field.type.storage_type if isinstance(field.type, pa.BaseExtensionType) else field.type
        if pa.types.is_dictionary(type_):
            type_ = type_.value_type
        if pa.types.is_struct(type_):
            yield from _leaves([type_.field(at) for at in range(type_.num_fields)], f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, type_


def _is_number(type_: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(type_) or pa.types.is_integer(type_))


def _is_any_list(type_: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_))


def _is_numbers(type_: Any) -> bool:
    return _is_any_list(type_) and _is_number(type_.value_type)


def _is_other_list(type_: Any) -> bool:
    """Lists of one list, and lists of one text."""
    return _is_any_list(type_) and (_is_text(type_.value_type) or _is_numbers(type_.value_type))


def _is_text(type_: Any) -> bool:
    import pyarrow as pa

    kinds = ("is_string", "is_large_string", "is_string_view", "is_binary", "is_large_binary", "is_fixed_size_binary")
    return any(getattr(pa.types, kind)(type_) for kind in kinds if hasattr(pa.types, kind))


def _named(type_: Any) -> str:
    text = str(type_)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _check_text(place: str, column: str, type_: Any, sample: Callable[[Sequence[str]], Any]) -> None:
    """A column that is named may be text without a vector in any of its first rows."""
    batch = sample([column])
    values = [] if batch is None else _column(batch, column).to_pylist()
    if any(values) and not any(map(vector_like, values)) and not any(isinstance(value, bytes) for value in values):
        shown = str(next(filter(None, values)))[:40]
        if "..." not in str(values):
            raise InputError(f"{place}: column {column!r} is {_named(type_)} that holds no vectors, such as {shown!r}")


def _group(
    place: str, types: dict[str, Any], request: SourceRequest, lists: Sequence[str], texts: Sequence[str]
) -> list[str]:
    """Columns of one number each that are asked for by what they share: `dim_` of dim_0, dim_1 …"""
    name = str(request.column)
    for group in wide_groups(list(types)):
        if group[0].rstrip("0123456789").rstrip("_-. ") == name.rstrip("_-. "):
            return group
    inner = [column for column in lists if column.startswith(f"{name}.")]
    if len(inner) == 1:
        return inner
    raise InputError(f"{place} has no column {name!r}; it has {listed(lists or list(types))}")


def _one_group(place: str, groups: Sequence[list[str]], request: SourceRequest) -> list[str]:
    fitting = [group for group in groups if len(group) == request.width] or list(groups)
    if len(fitting) == 1:
        return fitting[0]
    raise InputError(f"{place} has several groups of columns ({listed([g[0] for g in fitting])}, …); say which")


def _widths(
    types: dict[str, Any], sample: Callable[[Sequence[str]], Any], lists: Sequence[str], texts: Sequence[str]
) -> dict[str, int]:
    """The columns that may hold vectors, and how wide they are: lists that are as long in most of the first rows."""
    import pyarrow as pa

    others = [name for name, type_ in types.items() if _is_other_list(type_)]
    asked = [*lists, *texts[:256], *others]
    batch = sample(asked) if asked else None
    found: dict[str, int] = {}
    for name in asked:
        values = [] if batch is None else _column(batch, name).to_pylist()
        seen = [vector_like(value) for value in values]
        seen = [width for width in seen if width]
        common = max(set(seen), key=seen.count) if seen else 0
        if seen and seen.count(common) > len(seen) / 2:
            found[name] = common
    plain = {name: width for name, width in found.items() if name in lists}
    floats = {name for name in plain if pa.types.is_floating(types[name].value_type) and not name.startswith("sparse")}
    if len(floats) == 1 and len(found) > 1:
        return {name: width for name, width in found.items() if name in floats}
    if not found and len(lists) == 1:
        return {lists[0]: 0}
    return found


def _column(batch: Any, name: str) -> Any:
    """A column of a batch by its dotted name, nulls of the outer ones kept."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if name in batch.schema.names:
        found = batch.column(name)
    else:
        top, *path = name.split(".")
        while top not in batch.schema.names and path:
            top = f"{top}.{path.pop(0)}"
        found = pc.struct_field(batch.column(top), path)
    if isinstance(found, pa.ChunkedArray):
        found = found.combine_chunks()
    if isinstance(found, pa.ExtensionArray):
        found = found.storage
    return found.dictionary_decode() if pa.types.is_dictionary(found.type) else found


def batches_from(
    batches: Iterator[Any], layout: Layout, table: Any, request: SourceRequest, first: int, size: int
) -> Iterator[RecordBatch]:
    """Arrow's batches as ours; `table` gives the place and the collection."""
    width: int | None = None
    for batch in batches:
        count = batch.num_rows
        if not count:
            continue
        ids = None if layout.id is None else _column(batch, layout.id).to_pylist()
        texts = None if layout.text is None else _column(batch, layout.text).to_pylist()
        payloads = _payloads(batch, layout)
        rows = np.arange(first, first + count, dtype=np.int64)
        named = [str(number if ids is None or ids[place] is None else ids[place]) for place, number in enumerate(rows)]
        column = _column(batch, layout.vector[0])
        if len(layout.vector) > 1:
            vectors = np.stack([_floats(_column(batch, name)) for name in layout.vector], axis=1)
            yield RecordBatch(named, vectors, rows, texts, payloads, table.collection)
        elif _is_numbers(column.type):
            width = width or _common_width(column, request.width)
            yield _from_lists(
                column, width, RecordBatch(named, np.empty((0, 0), np.float32), rows, texts, payloads, table.collection)
            )
        else:
            cells = column.to_pylist()
            made = (
                Row(
                    cell,
                    named[place],
                    None if texts is None else texts[place],
                    None if payloads is None else payloads[place],
                    table.collection,
                )
                for place, cell in enumerate(cells)
            )
            for packed in batches_of(made, size, request if width is None else replace(request, width=width)):
                width = width or (packed.vectors.shape[1] if len(packed) else None)
                shifted = tuple(replace(row, row=row.row + first) for row in packed.skipped)
                yield replace(packed, rows=packed.rows + first, skipped=shifted)
        first += count


def _payloads(batch: Any, layout: Layout) -> list[dict[str, Any]] | None:
    if not layout.payload:
        return None
    columns = {name: _column(batch, name).to_pylist() for name in layout.payload}
    return [{name: values[place] for name, values in columns.items()} for place in range(batch.num_rows)]


def _floats(column: Any) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return np.asarray(column.to_numpy(zero_copy_only=False)).astype(np.float32, copy=False)


def _lengths(column: Any) -> NDArray[np.int64]:
    """How long each row's list is; −1 for null."""
    import pyarrow.compute as pc

    return np.asarray(pc.list_value_length(column).fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)


def _common_width(column: Any, asked: int | None) -> int | None:
    lengths = _lengths(column)
    lengths = lengths[lengths > 0]
    if not len(lengths):
        return None
    return asked if asked in lengths else int(np.bincount(lengths).argmax())


def _from_lists(column: Any, width: int | None, batch: RecordBatch) -> RecordBatch:
    """Fill the batch with a list column's numbers; rows of another length are skipped."""
    lengths = _lengths(column)
    good = lengths == width if width else np.zeros(len(lengths), bool)
    numbers = column.filter(column.is_valid()).flatten() if column.null_count else column.flatten()
    values = _floats(numbers)
    if good.all():
        return replace(batch, vectors=values.reshape(len(good), width or 0))
    reasons = {-1: "is null", 0: "is empty"}
    skipped = tuple(
        SkippedRow(
            int(batch.rows[place]),
            batch.ids[place],
            reasons.get(int(lengths[place]), f"is {lengths[place]} wide, the others {width}"),
        )
        for place in np.flatnonzero(~good).tolist()
    )
    whole = np.zeros((len(good), width or 0), np.float32)
    whole[good] = values[np.repeat(good, np.maximum(lengths, 0))].reshape(-1, width or 0) if good.any() else 0
    kept = replace(batch, vectors=whole).selected(np.flatnonzero(good).tolist())
    return replace(kept, skipped=skipped)
