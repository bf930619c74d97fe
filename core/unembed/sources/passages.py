"""Reading passages: one a line of a text file, or one a row of a parquet column."""

from pathlib import Path

from unembed.errors import InputError

__all__ = ["read_passages"]


def read_passages(path: str | Path, *, column: str | None = None) -> list[str]:
    """Read texts from the file `path`: a `.txt`, one a line, blank lines skipped, or a column of a `.parquet`.

    `column` is that of a Parquet file, `text` unless named. Raises InputError for a file that isn't there, holds none
    or is of another kind.

    Examples:
        >>> import unembed
        >>> with open("texts.txt", "w") as file:
        ...     _ = file.write("meet me at noon\\n\\ncall me back\\n")
        >>> unembed.read_passages("texts.txt")
        ['meet me at noon', 'call me back']
    """
    path = Path(path)
    column = "text" if column is None else column
    if not path.is_file():
        raise InputError(f"no file {path}")
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        try:
            table = pyarrow.parquet.ParquetFile(path)
        except pyarrow.ArrowInvalid as error:
            raise InputError(f"{path} isn't a readable parquet file: {error}") from error
        if column not in table.schema_arrow.names:
            raise InputError(f"{path} has no column {column!r}; it has {', '.join(table.schema_arrow.names)}")
        passages = [str(text) for text in table.read([column])[column].to_pylist() if text]
    elif path.suffix in (".txt", ""):
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise InputError(f"{path} isn't UTF-8 text (byte {error.start}); convert it first") from error
        passages = [line.strip() for line in lines if line.strip()]
    else:
        raise InputError(f"{path}: passages come from .txt or .parquet files, not {path.suffix!r}")
    if not passages:
        raise InputError(f"{path} holds no passages")
    return passages
