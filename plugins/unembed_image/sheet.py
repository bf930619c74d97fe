"""What `unembed invert` leaves in its folder: a PNG for each reconstruction, and one picture to look at them all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from unembed.inversion.inverter import Inverter
from unembed.inversion.results import Inversion

__all__ = ["Column", "contact_sheet", "drawn", "write_images"]

STEPS = (0, 1, 5, 20)
ROWS = 32  # at most, on one contact sheet
CELL = 128  # smallest side of a picture on it
MARGIN, LINE = 8, 18
Column = tuple[str, list[Image.Image], list[str]]  # a title, images and what stands under each


def write_images(
    folder: Path, inverter: Inverter, inputs: Sequence[Any] | None, found: Inversion, first: int = 0
) -> list[Path]:
    """Write `NUMBER-NAME.png` for each result and `contact-sheet.png`; the paths of the results, in order.

    `inputs` are the originals' files, None where only vectors were given. `first` is the number of the first result;
    the sheet of later ones is called after it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digits = len(str(first + len(found.objects) - 1))
    paths = []
    for number, image in enumerate(found.objects, first):
        name = "vector" if inputs is None else Path(str(inputs[number - first])).stem
        paths.append(folder / f"{number:0{digits}}-{name}.png")
        image.save(paths[-1])
    sheet = f"contact-sheet-{first}.png" if first else "contact-sheet.png"
    contact_sheet(inverter, inputs, found).save(folder / sheet)
    return paths


def contact_sheet(inverter: Inverter, inputs: Sequence[Any] | None, found: Inversion) -> Image.Image:
    """The first 32 results, a row each: the original as the inverter sees it, steps 0, 1, 5 and 20, and the last.

    Under each reconstruction stands its similarity; without a trace there is only the result.
    """
    count = min(ROWS, len(found.objects))
    columns: list[Column] = []
    if inputs is not None:
        originals = inverter.codec.decode(inverter.codec.encode(list(inputs[:count])))
        columns.append(("original", originals, [Path(str(name)).name for name in inputs[:count]]))
    if found.trace is None:
        columns.append(("result", found.objects[:count], _captions(found.similarity[:count])))
    else:
        last = found.trace[-1].number
        for number in (*(step for step in STEPS if step < last), last):
            step = found.trace[number]
            images = inverter.codec.decode(step.signals[:count])
            columns.append((f"step {number}", images, _captions(step.similarity[:count])))
    return drawn(columns, count)


def _captions(similarity: Tensor) -> list[str]:
    return [f"{value:.4f}" for value in similarity.tolist()]


def drawn(columns: Sequence[Column], count: int, *, cell: int = CELL) -> Image.Image:
    """Columns of `count` images, each at least `cell` pixels wide."""
    side = max(cell, columns[0][1][0].width)
    font = ImageFont.load_default(size=12)
    wide, high = side + MARGIN, side + LINE + MARGIN
    sheet = Image.new("RGB", (MARGIN + wide * len(columns), MARGIN + LINE + high * count), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (title, images, captions) in enumerate(columns):
        left = MARGIN + place * wide
        draw.text((left, MARGIN // 2), title, fill="black", font=font)
        for row, (image, caption) in enumerate(zip(images, captions, strict=True)):
            top = MARGIN + LINE + row * high
            sheet.paste(image.resize((side, side), Image.Resampling.NEAREST), (left, top))
            while draw.textlength(caption, font=font) > side:
                caption = caption[:-2] + "…"
            draw.text((left, top + side + 1), caption, fill="black", font=font)
    return sheet
