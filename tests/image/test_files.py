"""Every kind of file and array, and what is refused."""

import subprocess
import sys
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from unembed.errors import InputError
from unembed_image.files import png, read_images, square

RED = np.zeros((20, 20, 3), np.uint8) + np.array([200, 30, 40], np.uint8)


def saved(image: Image.Image, path, **options):
    image.save(path, **options)
    return path


def pixel(source) -> tuple[int, int, int]:
    image = square(source, 8, "input 0")
    assert image.mode == "RGB" and image.size == (8, 8)
    return image.getpixel((4, 4))


def test_png_of_an_image_holds_its_pixels() -> None:
    noise = np.random.default_rng(0).integers(256, size=(20, 20, 3)).astype(np.uint8)
    assert np.array_equal(np.asarray(Image.open(BytesIO(png(Image.fromarray(noise))))), noise)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK", "P", "YCbCr"])
def test_square_of_colour_modes(mode, tmp_path) -> None:
    suffix = "tif" if mode in ("CMYK", "YCbCr") else "png"
    found = pixel(saved(Image.fromarray(RED).convert(mode), tmp_path / f"a.{suffix}"))
    assert np.abs(np.subtract(found, (200, 30, 40))).max() <= 5  # a palette of the web has steps


def test_square_of_16_bit_grey(tmp_path) -> None:
    grey = Image.fromarray(np.full((20, 20), 40_000, np.uint16))
    assert pixel(saved(grey, tmp_path / "a.png")) == (156, 156, 156)
    assert pixel(saved(grey, tmp_path / "a.tif")) == (156, 156, 156)


def test_square_lays_transparency_on_white(tmp_path) -> None:
    clear = Image.new("RGBA", (20, 20), (200, 30, 40, 0))
    assert pixel(saved(clear, tmp_path / "a.png")) == (255, 255, 255)


def test_square_takes_the_first_frame(tmp_path) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    assert pixel(saved(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])) == (255, 0, 0)


def test_square_turns_as_exif_says(tmp_path) -> None:
    left = np.zeros((30, 30, 3), np.uint8)
    left[:, :15] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right by 90°: what was left is up
    path = saved(Image.fromarray(left), tmp_path / "a.png", exif=exif)
    turned = np.array(square(path, 10, "input 0"))
    assert turned[:4].min() == 255 and turned[-4:].max() == 0


def test_square_is_the_centre() -> None:
    wide = np.zeros((10, 90, 3), np.uint8)
    wide[:, 40:50] = 255
    assert np.array(square(wide, 10, "input 0")).min() == 255


def test_square_leaves_a_pil_image_alone() -> None:
    image = Image.new("RGBA", (30, 20), "red")
    before = image.copy()
    square(image, 8, "input 0")
    assert image == before and image.size == (30, 20)


@pytest.mark.parametrize(
    "array",
    [np.full((9, 9), 0.5), np.full((9, 9, 1), 128, np.uint8), np.full((9, 9, 3), 32_896, np.uint16)],
    ids=["floats", "one channel", "16 bits"],
)
def test_square_of_arrays(array) -> None:
    assert pixel(array) == (128, 128, 128)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("nowhere.png", "nowhere.png.*no such image file"),
        (b"hello", "an image in a format"),
        (7, "an image .* but int"),
        (np.zeros((3, 9, 9), np.uint8), r"shape \[3, 9, 9\]"),
        (np.zeros((0, 9, 3), np.uint8), "shape"),
        (np.full((9, 9), 200.0), "floats outside 0 to 1"),
        (np.full((9, 9), np.nan), "floats outside"),
        (np.zeros((9, 9), np.int64), "array of int64"),
        (Image.fromarray(np.zeros((9, 9), np.float32)), "floating-point pixels"),
        (Image.fromarray(np.full((9, 9), 70_000, np.int32)), "70000"),
    ],
)
def test_square_refuses(source, told) -> None:
    with pytest.raises(InputError, match=f"input 3.*{told}"):
        square(source, 8, "input 3")


def test_square_refuses_damaged_files(tmp_path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for suffix in ("png", "jpg"):
        file = BytesIO()
        Image.fromarray(noise).save(file, "jpeg" if suffix == "jpg" else suffix)
        (tmp_path / f"cut.{suffix}").write_bytes(file.getvalue()[:700])
        with pytest.raises(InputError, match=f"cut.{suffix}"):
            square(tmp_path / f"cut.{suffix}", 8, "input 0")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(InputError, match=r"text.png\) isn't an image"):
        square(str(tmp_path / "text.png"), 8, "input 0")


def test_square_refuses_more_pixels_than_pillow_opens(monkeypatch) -> None:
    file = BytesIO()
    Image.new("L", (100, 100)).save(file, "png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4_000)
    with pytest.raises(InputError, match="megapixels"):
        square(file.getvalue(), 8, "input 0")


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_square_of_a_panorama_takes_little_memory(tmp_path) -> None:
    path = saved(Image.new("RGB", (20_000, 6_000), "teal"), tmp_path / "wide.jpg")
    code = (
        "import re, sys\nfrom unembed_image.files import square\n"
        "def peak(): return int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "before = peak()\n"
        "print(square(sys.argv[1], 64, 'input 0').getpixel((1, 1)))\n"
        "print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    colour, kilobytes = done.stdout.splitlines()
    assert colour.startswith("(0, 128, 1") and 0 < int(kilobytes) < 100_000  # decoded whole it takes 360 MB


def test_read_images_of_a_folder(tmp_path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/2.PNG", "1.jpg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no image")
    assert read_images(tmp_path) == [tmp_path / "1.jpg", tmp_path / "b/2.PNG"]
    assert read_images(tmp_path / "1.jpg") == [tmp_path / "1.jpg"]


def test_read_images_of_a_column(tmp_path) -> None:
    table = {"image": [b"x", b"y"], "other": [{"bytes": b"z", "path": "z.png"}] * 2, "label": [1, 2]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    assert read_images(tmp_path / "a.parquet") == [b"x", b"y"]
    assert read_images(tmp_path / "a.parquet", column="other") == [b"z", b"z"]
    with pytest.raises(InputError, match="row 0 of column 'label' holds no image bytes but int"):
        read_images(tmp_path / "a.parquet", column="label")
    with pytest.raises(InputError, match="no column 'text'; it has image, other, label"):
        read_images(tmp_path / "a.parquet", column="text")


@pytest.mark.parametrize(
    ("name", "told"), [("x.csv", "not '.csv'"), ("x.parquet", "isn't a readable parquet"), ("", "holds no images")]
)
def test_read_images_refuses(name, told, tmp_path) -> None:
    if name:
        (tmp_path / name).write_bytes(b"nonsense")
    with pytest.raises(InputError, match=told):
        read_images(tmp_path / name)
    with pytest.raises(InputError, match="no file or folder"):
        read_images(tmp_path / "nowhere")
