"""Pictures larger than what stands first in their file."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hostile import bomb, icon
from PIL import Image

from vlmtutor.memes import UnreadablePicture
from vlmtutor.models import pictures as pictures_module
from vlmtutor.models.pictures import decode_picture, open_header

FEW, MANY = (9_500, 9_500), (14_000, 14_000)  # Pillow warns of one, refuses the other


def encoded(image, format, **options):
    data = io.BytesIO()
    image.save(data, format, **options)
    return data.getvalue()


def bitmap(width, height):
    """The head of a bitmap as an ICO has it: its mask lies below it."""
    head = (40, width, 2 * height, 1, 8, 1, 0, 0, 0, 0, 0)
    return struct.pack("<IiiHHIIiiII", *head) + bytes(4 * 256) + b"\0\1"


def gif(width, height):
    """Its canvas is smaller than its only frame."""
    data = encoded(Image.new("L", (16, 16)), "GIF", comment=b"a,b" * 200)
    frame = struct.pack("<4H", 0, 0, 16, 16)
    return data.replace(frame, struct.pack("<4H", 1, 1, width - 1, height - 1))


def riff(*chunks):
    body = b"WEBP" + b"".join(k + struct.pack("<I", len(b)) + b for k, b in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp(kind):
    """What makes a WebP of that kind, of which the head alone is whole."""

    def make(width, height):
        if kind == b"VP8X":
            sides = [struct.pack("<I", side - 1)[:3] for side in (width, height)]
            return riff((kind, bytes(4) + b"".join(sides)))
        if kind == b"VP8L":
            bits = (width - 1) | (height - 1) << 14
            return riff((kind, b"\x2f" + struct.pack("<I", bits)))
        head = b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height)
        return riff((kind, head))

    return make


def tiled(width, height):
    """A TIFF of 16 x 16 pixels in one tile of that size."""
    packed = zlib.compress(bytes(9_999))
    tags = {256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: width, 323: height}
    tags |= {324: 8 + 2 + 12 * 10 + 4, 325: len(packed)}
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, v) for tag, v in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + rows + bytes(4) + packed


MAKERS = {
    "PNG": bomb,
    "ICO": lambda *size: icon(bomb(*size)),
    "ICO, 256": lambda *size: icon(bomb(*size), sides=(256, 256)),
    "ICO, the second": lambda *size: icon(bomb(9, 9), bomb(*size), bits=(4, 8)),
    "ICO, head twice": lambda *size: icon(bomb(9, 9)[:33] + bomb(*size)[8:]),
    "ICO, bitmap": lambda *size: icon(bitmap(*size), bits=(8,)),
    "GIF": gif,
    "WEBP": webp(b"VP8 "),
    "WEBP, lossless": webp(b"VP8L"),
    "WEBP, extended": webp(b"VP8X"),
    "TIFF": tiled,
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [FEW, MANY])
@pytest.mark.parametrize("name", MAKERS)
def test_what_is_too_large_inside_is_refused_undecoded(name, size, monkeypatch):
    def decode(image):
        raise AssertionError("it went off")

    monkeypatch.setattr(pictures_module, "as_seen", decode)
    with pytest.raises(UnreadablePicture) as error:
        decode_picture(MAKERS[name](*size))
    first, last = size[0], 2 * size[1] if "bitmap" in name else size[1]
    told = f"too large: {first:,} x {last:,} pixels, the limit is 80,000,000 in all"
    assert str(error.value).startswith(told)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["ICO, bitmap", "GIF", "WEBP, extended"])
def test_what_opening_would_decode_or_warn_of_is_not_opened(name):
    with pytest.raises(UnreadablePicture, match="too large"):
        open_header(MAKERS[name](*MANY))


def test_a_whole_icon_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(pictures_module, "MAX_PIXELS", 5_000)
    large = Image.effect_noise((90, 90), 90)
    for picture in (icon(encoded(large, "PNG")), gif(90, 90)):
        with pytest.raises(UnreadablePicture, match="too large: 90 x 90 pixels"):
            decode_picture(picture)
    small = encoded(large.resize((70, 70)), "PNG")
    assert decode_picture(icon(small)).size == (70, 70)


# Those that fit are read as before.


@pytest.mark.filterwarnings("error")
def test_an_icon_has_the_size_of_the_picture_in_it():
    picture = Image.effect_noise((300, 200), 90)
    data = icon(encoded(picture, "PNG"))  # of 16 x 16, its directory says
    assert decode_picture(data).tobytes() == picture.convert("RGB").tobytes()
    with open_header(data) as header:
        assert header.size == (300, 200)


@pytest.mark.parametrize("kind", ["png", "bmp"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_icons_look_as_pillow_has_them(kind, mode):
    grain = np.random.default_rng(0).integers(0, 255, (64, 64, 4), np.uint8)
    picture = Image.fromarray(grain)
    picture = picture if mode == "RGBA" else picture.convert("RGB").convert(mode)
    sizes = [(16, 16), (64, 64), (32, 32)]
    data = encoded(picture, "ICO", sizes=sizes, bitmap_format=kind)
    whole = Image.open(io.BytesIO(data)).convert("RGBA")
    paper = Image.new("RGBA", whole.size, "white")
    wanted = Image.alpha_composite(paper, whole).convert("RGB")
    assert decode_picture(data).tobytes() == wanted.tobytes()


def test_of_two_icons_of_one_size_the_one_with_more_colours_is_read():
    poor = encoded(Image.new("L", (16, 16), 90), "PNG")
    rich = encoded(Image.new("RGB", (16, 16), "teal"), "PNG")
    for pictures, bits in (((poor, rich), (4, 32)), ((rich, poor), (32, 4))):
        seen = decode_picture(icon(*pictures, bits=bits))
        assert seen.getpixel((3, 3)) == (0, 128, 128)


def test_a_picture_in_an_icon_is_seen_with_its_turn_and_transparency():
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.new("RGB", (40, 20), "red").quantize(2)
    data = icon(encoded(picture, "PNG", exif=exif, transparency=0))
    seen = decode_picture(data)
    assert seen.size == (20, 40) and seen.getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize("name", MAKERS)
def test_a_head_that_is_cut_short_is_a_damaged_file(name):
    data = MAKERS[name](300, 200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, on torn TIFFs
        for length in range(1, 200):
            with pytest.raises(UnreadablePicture):
                decode_picture(data[:length])
