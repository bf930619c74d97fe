"""Image files, bytes, PIL images and arrays as square 8-bit RGB, whatever their size and colours."""

import io
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from unembed.errors import InputError

__all__ = ["SUFFIXES", "png", "read_images", "square"]

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


def read_images(path: Path, *, column: str | None = None) -> list[Any]:
    """The images of a folder (with its subfolders, by name), of a `.parquet` column, or of one file.

    A column, `image` unless named, holds files as bytes, or structs with a field `bytes`. What comes back are paths
    or bytes; the codec opens them. Raises InputError.
    """
    path = Path(path)
    if path.is_dir():
        found: list[Any] = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
        if not found:
            raise InputError(f"{path} holds no images: none of its files ends in {', '.join(SUFFIXES)}")
        return found
    if not path.is_file():
        raise InputError(f"no file or folder {path}")
    if path.suffix == ".parquet":
        return _column(path, "image" if column is None else column)
    if path.suffix.lower() in SUFFIXES:
        return [path]
    raise InputError(f"{path}: images come from a folder, a .parquet file or an image file, not {path.suffix!r}")


def _column(path: Path, column: str) -> list[bytes]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path)
    except pyarrow.ArrowInvalid as error:
        raise InputError(f"{path} isn't a readable parquet file: {error}") from error
    if column not in table.schema_arrow.names:
        raise InputError(f"{path} has no column {column!r}; it has {', '.join(table.schema_arrow.names)}")
    rows = table.read([column])[column].to_pylist()
    found: list[bytes] = []
    for number, cell in enumerate(rows):
        row = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(row, bytes):
            raise InputError(f"{path}, row {number} of column {column!r} holds no image bytes but {type(row).__name__}")
        found.append(row)
    if not found:
        raise InputError(f"{path} holds no images")
    return found


def png(image: Image.Image) -> bytes:
    """An image as the bytes of a PNG."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def square(source: Any, size: int, what: str) -> Image.Image:
    """The centre square of a path, bytes, PIL image or array as RGB of `size` × `size` pixels.

    Of several frames the first is taken, transparency is laid on white, EXIF rotation is applied, 16 bits are rounded
    to 8. An array is `[H, W]`, `[H, W, 3]` or `[H, W, 4]` of uint8, uint16 or floats from 0 to 1. Raises InputError,
    which starts with `what`.
    """
    if isinstance(source, np.ndarray):
        return _cut(_from_array(source, what), size, what)
    if isinstance(source, str | Path):
        what = f"{what} ({source})"
        if not Path(source).is_file():
            raise InputError(f"{what}: no such image file")
    elif isinstance(source, bytes):
        source = io.BytesIO(source)
    elif not isinstance(source, Image.Image):
        raise InputError(f"{what} isn't an image (a path, bytes, a PIL image or an array) but {type(source).__name__}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata and pictures over 90 megapixels, which are welcome
            if isinstance(source, Image.Image):
                return _cut(source, size, what)
            with Image.open(source) as image:
                _shrink_on_load(image, size)
                return _cut(image, size, what)
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise InputError(f"{what} has more than the {most} megapixels that are opened: scale it down first") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{what} isn't an image in a format that Pillow can read") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise InputError(f"{what} can't be read as an image: {error}") from error


def _shrink_on_load(image: Image.Image, size: int) -> None:
    """Have a JPEG decoded at a fraction of its size, at least twice what is wanted: a panorama takes no memory then."""
    factor = min(image.size) / (2 * size)
    if factor > 1:
        image.draft(None, (int(image.width / factor), int(image.height / factor)))


def _cut(image: Image.Image, size: int, what: str) -> Image.Image:
    side = min(image.size)
    if side < 1:
        raise InputError(f"{what} is an image of {image.width} × {image.height} pixels")
    left, top = (image.width - side) // 2, (image.height - side) // 2
    exif = image.getexif()
    image = image.crop((left, top, left + side, top + side))  # first, so that only the square is converted
    if exif.get(0x0112, 1) != 1:  # orientation
        image.info["exif"] = exif.tobytes()
        image = ImageOps.exif_transpose(image)
    image = _rgb(image, what)
    return image if side == size else image.resize((size, size), Image.Resampling.BICUBIC, reducing_gap=3.0)


def _rgb(image: Image.Image, what: str) -> Image.Image:
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise InputError(
                f"{what} has whole numbers from {values.min()} to {values.max()}; save it with 8 or 16 bits"
            )
        image = Image.fromarray(_eight_bits(values))
    if image.mode == "F":
        raise InputError(f"{what} has floating-point pixels, whose range isn't known; save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_array(array: np.ndarray, what: str) -> Image.Image:
    shape = array.shape
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3, 4)) or array.size == 0:
        raise InputError(f"{what} is an array of shape {list(shape)}; an image is [H, W], [H, W, 3] or [H, W, 4]")
    if array.dtype == np.uint16:
        array = _eight_bits(array)
    elif array.dtype.kind == "f":
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise InputError(f"{what} is an array of floats outside 0 to 1; scale it, or give uint8 from 0 to 255")
        array = (array * 255).round().astype(np.uint8)
    elif array.dtype != np.uint8:
        raise InputError(f"{what} is an array of {array.dtype}; pixels are uint8, uint16 or floats from 0 to 1")
    return Image.fromarray(array[:, :, 0] if shape[2:] == (1,) else array)


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """0 to 65535 as 0 to 255."""
    return (values / 257).round().astype(np.uint8)
