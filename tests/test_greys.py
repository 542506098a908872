"""Greys of more than 8 bits: what is black and white in which file."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from vlmtutor.models.pictures import UnreadablePicture, as_seen, decode_picture

RAMP = np.linspace(0, 1, 8)
SHADES = [0, 36, 73, 109, 146, 182, 219, 255]
UNSIGNED, SIGNED, FLOAT = 1, 2, 3


def encoded(image, format):
    data = io.BytesIO()
    image.save(data, format)
    return data.getvalue()


def shades(picture):
    """The greys of a picture's first row."""
    return np.asarray(picture)[0, :, 0].tolist()


def tiff(raw, bits, kind=UNSIGNED, meaning=1):
    """A TIFF of 8 x 1 pixels; ``meaning`` 0: white is zero."""
    tags = {256: 8, 257: 1, 258: bits, 259: 1, 262: meaning, 273: 8 + 2 + 12 * 10 + 4}
    tags |= {277: 1, 278: 1, 279: len(raw), 339: kind}
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, v) for tag, v in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + rows + bytes(4) + raw


FLOATS = RAMP.astype("<f4").tobytes()


def numbers(most, kind):
    return (RAMP * most).round().astype(kind).tobytes()


def twelve(values):
    """Two in three bytes, as a scanner packs them."""
    bits = "".join(f"{value:012b}" for value in values)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


@pytest.mark.parametrize("white", [1, 255, 65535])
@pytest.mark.parametrize("format", ["PPM", "TIFF"])
def test_floats_have_one_scale_in_every_format(format, white):
    floats = Image.fromarray(RAMP[None].astype(np.float32) * white)
    assert shades(decode_picture(encoded(floats, format))) == SHADES
    assert shades(as_seen(floats)) == SHADES


@pytest.mark.parametrize("white", [1000, 1023, 4095, 16383, 65534, 65535])
def test_a_grey_map_says_what_white_is(white):
    values = (RAMP * white).round().astype(int)
    lines = [f"{letter}\n8 1\n{white}\n".encode() for letter in ("P5", "P2")]
    packed = values.astype(">u2").tobytes()
    written = " ".join(map(str, values)).encode() + b"\n"
    for data in (lines[0] + packed, lines[1] + written):
        assert shades(decode_picture(data)) == SHADES
    dark = b"P5\n8 1\n65535\n" + (values // 200).astype(">u2").tobytes()
    assert max(shades(decode_picture(dark))) <= 2  # white is not the brightest


@pytest.mark.parametrize(
    "data",
    [
        tiff(twelve((RAMP * 4095).round().astype(int)), 12),
        tiff(numbers(65535, "<u2"), 16),
        tiff(numbers(2**32 - 1, "<u4"), 32),
        tiff(numbers(2**15 - 1, "<i2"), 16, SIGNED),
        tiff(numbers(2**31 - 1, "<i4"), 32, SIGNED),
        tiff(FLOATS, 32, FLOAT),
    ],
    ids=["12", "16", "32", "signed 16", "signed 32", "floats"],
)
def test_a_tiff_says_what_white_is(data):
    assert shades(decode_picture(data)) == SHADES


@pytest.mark.parametrize(
    "raw, bits, kind",
    [(numbers(65535, "<u2"), 16, UNSIGNED), (FLOATS, 32, FLOAT)],
    ids=["16", "floats"],
)
def test_a_tiff_whose_white_is_zero_is_no_negative(raw, bits, kind):
    assert shades(decode_picture(tiff(raw, bits, kind, meaning=0))) == SHADES[::-1]


@pytest.mark.parametrize(
    "value, seen", [(np.inf, 255), (-np.inf, 0), (np.nan, 0), (3e38, None)]
)
@pytest.mark.parametrize("least", [0, -1])
@pytest.mark.parametrize("format", ["PPM", "TIFF", None])
def test_what_is_no_number_does_not_set_the_scale(format, least, value, seen):
    floats = (least + RAMP * (1 - least)).astype(np.float32)
    floats[3] = value
    picture = Image.fromarray(floats[None])
    picture = decode_picture(encoded(picture, format)) if format else as_seen(picture)
    if seen is None:  # a number, however large, does
        assert shades(picture) == [0, 0, 0, 255, 0, 0, 0, 0]
    else:
        assert shades(picture) == [*SHADES[:3], seen, *SHADES[4:]]


@pytest.mark.parametrize("value, seen", [(np.inf, 0), (-np.inf, 255), (np.nan, 0)])
def test_where_white_is_zero_infinity_is_black(value, seen):
    floats = RAMP.astype("<f4")
    floats[3] = value
    picture = decode_picture(tiff(floats.tobytes(), 32, FLOAT, meaning=0))
    wanted = SHADES[::-1]
    wanted[3] = seen
    assert shades(picture) == wanted


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value, seen", [(np.inf, 255), (-np.inf, 0), (np.nan, 0)])
def test_a_picture_of_nothing_but_such_is_white_or_black(value, seen):
    picture = as_seen(Image.fromarray(np.full((1, 2), value, np.float32)))
    assert shades(picture) == [seen, seen]


@pytest.mark.parametrize(
    "data",
    [
        tiff(RAMP.astype("<f2").tobytes(), 16, FLOAT),
        tiff(RAMP.astype("<f8").tobytes(), 64, FLOAT),
        b"II+\0" + bytes(60),  # the long kind (BigTIFF), torn
    ],
    ids=["half", "double", "long"],
)
def test_a_tiff_that_is_not_read_is_not_called_damaged_alone(data):
    with pytest.raises(UnreadablePicture, match="of a kind .*: save it as JPEG or PNG"):
        decode_picture(data)
