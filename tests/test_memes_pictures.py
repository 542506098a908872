import io
import os

import numpy as np
import pytest
from hostile import bomb
from PIL import Image

from vlmtutor.memes import UnreadablePicture, read_picture, render
from vlmtutor.models.pictures import as_seen, decode_picture

RNG = np.random.default_rng(0)


def corners(image):
    """Top left, top right, bottom left, bottom right."""
    w, h = image.width - 1, image.height - 1
    return [image.getpixel(p) for p in ((0, 0), (w, 0), (0, h), (w, h))]


def encoded(image, format, **options):
    data = io.BytesIO()
    image.save(data, format, **options)
    return data.getvalue()


@pytest.mark.parametrize(
    "format", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF"]
)
def test_usual_formats(format, tmp_path):
    if format == "AVIF":
        Image.init()
        if "AVIF" not in Image.SAVE:
            pytest.skip("this Pillow has no AVIF")
    path = tmp_path / "picture.whatever"
    path.write_bytes(encoded(Image.new("RGB", (40, 30), "teal"), format))
    picture = read_picture(path)
    assert picture.mode == "RGB" and picture.size == (40, 30)
    assert np.abs(np.asarray(picture).mean((0, 1)) - (0, 128, 128)).max() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation):
    upright = Image.new("RGB", (48, 32), "white")
    upright.paste("red", (0, 0, 24, 16))
    upright.paste("blue", (24, 16, 48, 32))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright
    if orientation in undo:
        stored = upright.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = decode_picture(encoded(stored, "PNG", exif=exif))
    assert seen.size == upright.size
    assert corners(seen) == corners(upright)
    again = as_seen(seen)  # not turned a second time
    assert corners(again) == corners(upright)


def test_transparency_lies_on_white():
    ink = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    ink.putpixel((0, 0), (255, 0, 0, 255))
    for image in (ink, ink.convert("LA"), ink.quantize(8)):
        seen = decode_picture(encoded(image, "PNG"))
        assert seen.getpixel((5, 5)) == (255, 255, 255)
        assert seen.getpixel((0, 0)) != (255, 255, 255)
    keyed = encoded(Image.new("RGB", (8, 8), "red"), "PNG", transparency=(255, 0, 0))
    assert decode_picture(keyed).getpixel((3, 3)) == (255, 255, 255)


def test_palette_one_bit_and_cmyk():
    pixels = RNG.integers(0, 255, (12, 12, 3), np.uint8)
    palette = Image.fromarray(pixels).quantize(16)
    seen = decode_picture(encoded(palette, "PNG"))
    assert seen.tobytes() == palette.convert("RGB").tobytes()
    bits = Image.new("1", (9, 9), 1)
    assert decode_picture(encoded(bits, "PNG")).getpixel((4, 4)) == (255,) * 3
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    red, green, blue = decode_picture(encoded(cyan, "JPEG")).getpixel((8, 8))
    assert red < 60 and green > 150 and blue > 150


def test_sixteen_bit_greys_keep_their_shades():
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    for format in ("PNG", "TIFF"):
        seen = decode_picture(encoded(Image.fromarray(ramp), format))
        shades = np.asarray(seen)[..., 0].astype(float)
        assert np.abs(shades - ramp / 257).max() <= 1
    real = Image.fromarray(np.linspace(-3, 7, 64, dtype=np.float32)[None])
    shades = np.asarray(decode_picture(encoded(real, "TIFF")))[0, :, 0]
    assert shades[0] == 0 and shades[-1] == 255
    assert (np.diff(shades.astype(int)) >= 0).all()


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animations_give_their_first_frame(format):
    frames = [Image.new("RGB", (20, 20), c) for c in ("red", "blue", "lime")]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
    red, green, blue = decode_picture(data).getpixel((10, 10))
    assert red > 200 and green < 50 and blue < 50


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(9500, 9500), (60_000, 60_000)])
def test_bombs_are_refused_before_they_go_off(size):
    with pytest.raises(UnreadablePicture, match="too large"):
        decode_picture(bomb(*size))


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "empty"),
        (b"just text, no picture", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a pict"),
        (bomb(90, 90), "damaged"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "not a picture|damaged"),
    ],
)
def test_other_files_are_refused_with_a_reason(data, reason, tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(data)
    with pytest.raises(UnreadablePicture, match=reason):
        read_picture(path)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_truncated_pictures_are_refused(format):
    pixels = RNG.integers(0, 255, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(pixels), format)
    with pytest.raises(UnreadablePicture):
        decode_picture(data[: len(data) // 2])


def test_what_is_no_file(tmp_path):
    with pytest.raises(UnreadablePicture, match="no such file"):
        read_picture(tmp_path / "gone.png")
    with pytest.raises(UnreadablePicture, match="a folder"):
        read_picture(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnreadablePicture, match="not an ordinary file"):
        read_picture(tmp_path / "pipe.png")


def test_a_file_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("vlmtutor.models.pictures.MAX_BYTES", 10)
    (tmp_path / "x.png").write_bytes(b"0" * 11)
    with pytest.raises(UnreadablePicture, match="too large"):
        read_picture(tmp_path / "x.png")


def test_render_sees_the_same_picture():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.new("RGB", (90, 60), "red"), "JPEG", exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        assert render(image, "").size == (60, 90)
