import io
import os
import struct
import sys
import tracemalloc
import zlib

import numpy as np
import pytest
from fake_clip import TinyClip
from hostile import bomb, chunk
from PIL import Image, ImageCms, ImageColor, JpegImagePlugin, TiffImagePlugin

from vlmtutor.figures import as_image
from vlmtutor.memes import UnreadablePicture, match, read_picture, render
from vlmtutor.models.mending import mended
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


def png(rows, bits, key):
    """A PNG of greys [H, W] or colours [H, W, 3] of ``bits``; ``key``: its tRNS."""
    height, width, *colors = rows.shape
    kind = 2 if colors else 0
    bytes_of = rows.astype(">u2").reshape(height, -1, 1).view(np.uint8)  # [H, n, 2]
    lines = np.unpackbits(bytes_of, axis=-1)[..., 16 - bits :].reshape(height, -1)
    raw = b"".join(b"\0" + line.tobytes() for line in np.packbits(lines, axis=1))
    head = struct.pack(">2I5B", width, height, bits, kind, 0, 0, 0)
    body = [(b"IHDR", head), (b"tRNS", struct.pack(f">{len(key)}H", *key))]
    body += [(b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in body)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_where_a_grey_png_has_its_transparent_grey_it_is_white(bits):
    most = 2**bits - 1
    greys = np.linspace(0, most, 16).round().astype(int).reshape(2, 8)
    shades = (greys * 255 / most).round().astype(np.uint8)
    for key in {0, int(greys[0, 5]), most}:
        seen = np.asarray(decode_picture(png(greys, bits, [key])))[..., 0]
        wanted = np.where(greys == key, 255, shades)
        assert np.abs(wanted - seen.astype(int)).max() <= (bits == 16)
        whole = png(np.full((3, 8), key), bits, [key])
        assert np.asarray(decode_picture(whole)).min() == 255


@pytest.mark.parametrize("bits", [8, 16])
def test_where_a_png_has_its_transparent_colour_it_is_white(bits):
    key = np.array([0x10, 0x20, 0x30]) if bits == 8 else (0x1020, 0x3040, 0x5060)
    colors = np.tile(key, (4, 8, 1))
    assert np.asarray(decode_picture(png(colors, bits, key))).min() == 255
    colors[0, 0, 2] += 1  # of 16 bits: nearer than Pillow tells
    colors[3, 7] = 0
    seen = decode_picture(png(colors, bits, key))
    upper = colors >> (bits - 8)
    assert seen.getpixel((0, 0)) == tuple(upper[0, 0])
    assert seen.getpixel((7, 3)) == (0, 0, 0)
    assert np.asarray(seen).reshape(-1, 3)[1:-1].min() == 255


def test_bits_of_a_key_beyond_those_of_the_pixels_do_not_count():
    for bits, key in ((4, [0xF5]), (8, [0x105]), (8, [0x105] * 3)):
        rows = np.full((2, 8, 3)[: 2 + (len(key) == 3)], 5)
        assert np.asarray(decode_picture(png(rows, bits, key))).min() == 255


def test_a_key_is_seen_in_pictures_that_pillow_opened_from_a_path(tmp_path):
    for bits, key in ((4, [5]), (16, [0x1020]), (16, [0x1020] * 3)):
        path = tmp_path / "keyed.png"
        path.write_bytes(
            png(np.full((2, 8, 3)[: 2 + len(key) // 3], key[0]), bits, key)
        )
        with Image.open(path) as image:
            assert np.asarray(as_seen(image)).min() == 255


def bitmap(alpha, in_icon=False):
    """A bitmap of 2 x 2 whose pixels are of 32 bits, its colour (200, 0, 0)."""
    pixels = b"".join(bytes([0, 0, 200, value]) for value in alpha)
    if in_icon:
        head = struct.pack("<3I2H6I", 40, 2, 4, 1, 32, 0, 16, 0, 0, 0, 0)
        body = head + pixels + bytes(8)
        entry = struct.pack("<4B2H2I", 2, 2, 0, 0, 1, 32, len(body), 22)
        return b"\0\0\1\0\1\0" + entry + body
    head = struct.pack("<3I2H6I", 124, 2, 2, 1, 32, 3, 16, 2835, 2835, 0, 0)
    head += struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(64)
    return b"BM" + struct.pack("<3I", 14 + 124 + 16, 0, 14 + 124) + head + pixels


@pytest.mark.parametrize("in_icon", [False, True])
def test_a_bitmap_whose_alpha_bytes_are_empty_shows_its_colours(in_icon):
    seen = decode_picture(bitmap([0, 0, 0, 0], in_icon))
    assert seen.getcolors() == [(4, (200, 0, 0))]
    seen = decode_picture(bitmap([0, 0, 0, 255], in_icon))  # here they are used
    assert sorted(seen.getcolors()) == [(1, (200, 0, 0)), (3, (255, 255, 255))]


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


# What other programs show: damage beside the pixels, lost last bytes.


LONG = zlib.compress(b"seed 7, steps 30; " * 200_000)


@pytest.mark.parametrize(
    "side",
    [
        chunk(b"zTXt", b"prompt\0\0" + LONG),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LONG),
        chunk(b"iCCP", b"lut\0\0" + LONG),
        chunk(b"iCCP", b"lut\0\0no zlib at all"),
        chunk(b"tEXt", b"a\0b", crc=0),
        chunk(b"gAMA", b"\0\0\0\1", crc=9),
        chunk(b"eXIf", b"II*\0", crc=9),
    ],
)
@pytest.mark.parametrize("place", [33, -12])
def test_what_is_beside_the_pixels_of_a_png_does_no_harm(side, place):
    plain = Image.fromarray(RNG.integers(0, 255, (40, 30, 3), np.uint8))
    data = encoded(plain, "PNG")
    picture = decode_picture(data[:place] + side + data[place:])
    assert picture.tobytes() == plain.tobytes()


def test_mending_a_png_keeps_what_shapes_its_look():
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"exif": exif, "transparency": (255, 0, 0), "icc_profile": DISPLAY_P3}
    data = encoded(Image.new("RGB", (40, 20), "red"), "PNG", **options)
    data = data[:33] + chunk(b"tEXt", b"a\0b", crc=0) + data[33:]
    assert decode_picture(data).size == (20, 40)
    assert decode_picture(data).getpixel((5, 5)) == (255, 255, 255)
    red = encoded(
        Image.new("RGB", (9, 9), (200, 60, 40)), "PNG", icc_profile=DISPLAY_P3
    )
    red = red[:33] + chunk(b"zTXt", b"prompt\0\0" + LONG) + red[33:]
    assert decode_picture(red).getpixel((4, 4)) == (217, 42, 23)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("lost", [1, 2, 3, 20])
def test_a_jpeg_without_its_last_bytes_is_read(options, lost):
    noise = Image.fromarray(RNG.integers(0, 255, (96, 80, 3), np.uint8))
    data = encoded(noise, "JPEG", **options)
    whole, rest = decode_picture(data), decode_picture(data[:-lost])
    assert whole.crop((0, 0, 80, 72)).tobytes() == rest.crop((0, 0, 80, 72)).tobytes()
    if lost <= 2:  # nothing but the end mark
        assert whole.tobytes() == rest.tobytes()
    with pytest.raises(UnreadablePicture, match="truncated"):
        decode_picture(data[: len(data) * 3 // 4])
    assert decode_picture(data + b"PK\3\4 an archive").tobytes() == whole.tobytes()


def cut_photo(lost, **options):
    """A JPEG of 1200 x 800 pixels without its last bytes, or a part of them."""
    noise = Image.fromarray(RNG.integers(0, 255, (100, 150, 3), np.uint8))
    data = encoded(noise.resize((1200, 800)), "JPEG", **options)
    return data[: len(data) - (lost if lost > 1 else round(lost * len(data)))]


@pytest.fixture
def sizes_read(monkeypatch):
    """The sizes at which JPEGs are decoded."""
    sizes, load = [], JpegImagePlugin.JpegImageFile.load

    def watched(image):
        if image.tile:
            sizes.append(image.size)
        return load(image)

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", watched)
    return sizes


@pytest.mark.parametrize("lost", [0.9, 0.5, 0.1])
def test_what_a_cut_jpeg_lacks_is_sought_at_an_eighth_of_its_size(sizes_read, lost):
    with pytest.raises(UnreadablePicture, match="truncated"):
        decode_picture(cut_photo(lost))
    assert sizes_read == [(1200, 800), (150, 100), (150, 100)]


def test_a_large_jpeg_is_mended_at_half_its_size(sizes_read, monkeypatch):
    monkeypatch.setattr("vlmtutor.models.mending._LARGE", 900_000)
    assert mended(cut_photo(20)) is not None
    assert sizes_read == [(150, 100)] * 2 + [(600, 400)] * 2
    assert mended(cut_photo(0.1, progressive=True)) is None


@pytest.mark.parametrize("lost", [0.5, 20])
def test_mending_a_jpeg_makes_no_copies_of_its_pixels(lost):
    data = cut_photo(lost)
    tracemalloc.start()
    mended(data)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 6 * len(data) + 1_000_000 < 1200 * 800 * 3


def noisy(color):
    """A frame of one colour with grain, so that it takes some bytes."""
    grain = np.random.default_rng(0).integers(0, 60, (40, 40, 1))
    paler = np.abs(np.array(ImageColor.getrgb(color)) - grain)
    return Image.fromarray(paler.astype(np.uint8))


@pytest.mark.parametrize("format", ["WEBP", "AVIF"])
def test_an_animation_cut_in_its_last_frame_shows_its_first(format):
    if format not in Image.SAVE_ALL:
        pytest.skip("this Pillow writes no such animation")
    frames = [noisy(c) for c in ("red", "blue", "lime")]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
    whole = decode_picture(data)
    red, green, blue = whole.getpixel((10, 10))
    assert red > 150 and green < 90 and blue < 90
    assert decode_picture(data[:-9]).tobytes() == whole.tobytes()
    with pytest.raises(UnreadablePicture, match="damaged|truncated|AVIF"):
        decode_picture(data[: len(data) // 3])  # in the first frame


# Colours through the profile of the picture.


def profile(**columns):
    """sRGB's own profile with other primaries (X, Y, Z under D50)."""
    raw = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for row in range(struct.unpack(">I", raw[128:132])[0]):
        tag, at, _ = struct.unpack(">4sII", raw[132 + 12 * row : 144 + 12 * row])
        if tag.decode() in columns:
            numbers = [round(v * 65536) for v in columns[tag.decode()]]
            raw[at + 8 : at + 20] = struct.pack(">3i", *numbers)
    return bytes(raw)


SRGB = profile()
DISPLAY_P3 = profile(
    rXYZ=(0.51512, 0.2412, -0.00105),
    gXYZ=(0.29198, 0.69225, 0.04189),
    bXYZ=(0.1571, 0.06657, 0.78407),
)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP", "JPEG", "AVIF"])
def test_a_phones_colours_are_seen_as_on_its_screen(format, mode):
    if format not in Image.registered_extensions().values():
        pytest.skip("this Pillow has no such format")
    if (mode, format) in (
        ("RGBA", "JPEG"),
        ("P", "JPEG"),
        ("P", "WEBP"),
        ("P", "AVIF"),
    ):
        pytest.skip("no such file")
    image = Image.new("RGB", (64, 64), (200, 60, 40))
    image = image.quantize(4) if mode == "P" else image.convert(mode)
    seen = decode_picture(encoded(image, format, icc_profile=DISPLAY_P3))
    assert np.abs(np.subtract(seen.getpixel((32, 32)), (217, 42, 23))).max() <= 2
    plain = decode_picture(encoded(image, format))
    for known in (SRGB, b"no profile", DISPLAY_P3[:200], b""):
        data = encoded(image, format, icc_profile=known)
        assert decode_picture(data).tobytes() == plain.tobytes()


def test_a_grey_picture_keeps_its_shades_under_the_profile_of_a_coloured_one():
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None].repeat(4, 0))
    for profile_of in (SRGB, DISPLAY_P3):
        seen = decode_picture(encoded(ramp, "PNG", icc_profile=profile_of))
        assert np.abs(np.asarray(seen)[0, :, 0].astype(int) - np.arange(256)).max() <= 1


# Formats that are not read, and photos larger than memory.


def media(brand):
    return b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0" + brand + b"miaf" + bytes(99)


@pytest.mark.parametrize(
    "data, reason",
    [
        (media(b"heic"), "HEIC.*pip install pillow-heif.*JPEG"),
        (media(b"mif1"), "HEIC"),
        (media(b"isom"), "MP4 video, not a picture: save one frame"),
        (media(b"qt  "), "MOV"),
        (media(b"avif"), "damaged AVIF"),
        (b"\xff\x0a" + bytes(50), "JPEG XL.*save it as JPEG"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(50), "JPEG XL"),
        (b"%PDF-1.7\n\xe2\xe3", "PDF document, not a picture: save its page"),
        (b"8BPS\0\1" + bytes(50), "PSD"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- x -->\n<svg/>", "SVG"),
        (b" <SVG width='3'/>", "SVG.*save it as PNG"),
        (b"<!doctype HTML><p>404", "web page .HTML., not a picture"),
        (b'{"error": "not found"}', "JSON"),
        (b"{\\rtf1 hello}", "RTF"),
        (b"PK\3\4" + bytes(40), "zip archive or Office document"),
        (b"RIFF\0\0\0\0AVI LIST\xff", "AVI video"),
        (b"\x1aE\xdf\xa3" + bytes(9), "WebM"),
        (b"version https://git-lfs.github.com/spec/v1\noid x", "git lfs pull"),
        (bytes(5000), "only zero bytes.*not been copied"),
        (b"\xff\xd8\xff\xe0 cut", "damaged"),
        ("höflich".encode(), "a text file, not a picture"),
        (b"\x07\x93\x00\xfe", "not a picture in a known format"),
    ],
)
def test_the_reason_names_the_format_and_the_way_on(data, reason):
    with pytest.raises(UnreadablePicture, match=reason):
        decode_picture(data)


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"hevs"])
def test_a_damaged_heic_is_called_so_where_a_plugin_reads_them(monkeypatch, brand):
    def fail(file, name):
        raise SyntaxError("cut")

    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    Image.register_open("HEIF", fail, lambda head: head[8:12] != b"hevs")
    with pytest.raises(UnreadablePicture, match="^a damaged HEIC picture$"):
        decode_picture(media(brand))


def test_heic_is_read_once_a_plugin_is_installed(monkeypatch):
    pixels = encoded(Image.new("RGB", (40, 30), "teal"), "PNG")

    class Plugin:
        @staticmethod
        def register_heif_opener():
            Image.register_open(
                "HEIF",
                lambda file, name: Image.open(io.BytesIO(pixels)),
                lambda head: head[4:12] == b"ftypheic",
            )

    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # not installed
    monkeypatch.setitem(sys.modules, "pi_heif", Plugin)
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    assert decode_picture(media(b"heic")).getpixel((3, 3)) == (0, 128, 128)


@pytest.mark.filterwarnings("error")
def test_a_photo_of_200_megapixels_is_read_at_half_its_size(monkeypatch):
    monkeypatch.setattr("vlmtutor.models.pictures.MAX_PIXELS", 5_000)
    monkeypatch.setattr("vlmtutor.models.pictures.MAX_JPEG_PIXELS", 20_000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)  # Pillow's own limit
    photo = Image.new("RGB", (120, 90), "teal")
    picture = decode_picture(encoded(photo, "JPEG"))
    assert picture.size == (60, 45) and picture.info == {"reduced": 2}
    assert decode_picture(encoded(photo.resize((70, 70)), "JPEG")).size == (70, 70)
    for large in (encoded(photo, "PNG"), encoded(photo.resize((200, 190)), "JPEG")):
        with pytest.raises(UnreadablePicture, match="too large.*20,000 for JPEG"):
            decode_picture(large)


@pytest.mark.parametrize(
    "data, reason",
    [
        (media(b"hevs"), "HEIC"),
        (b"FLV\1\5\0\0\0\x09", "Flash video, not a picture: save one frame"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media"),
        (b"\0\0\x10\0moov\0\0\0lmvhd\0\xff", "QuickTime video .MOV."),
        (b"\0\0\0\x08wide\0\xff\0\0mdat", "QuickTime video .MOV."),
        (b"BPG\xfb" + bytes(9), "BPG picture: save it as JPEG"),
        (bytes(128) + b"DICM\2\0", "DICOM"),
        (b"SIMPLE  =" + b" " * 20 + b"T", "FITS"),
        (b"<!-- saved from url=(0014)about:internet --><HTML>", "web page"),
        (b"\n <head><title>404", "web page"),
        (b"<?xml version='1.0'?>\n<!DOCTYPE html><html>", "web page"),
        (b"<!-- drawn --><svg/>", "SVG.*save it as PNG"),
        (b"<!DOCTYPE svg PUBLIC ''><svg/>", "SVG.*save it as PNG"),
        (b"<?xml version='1.0'?><rss/>", "an XML file, not a picture"),
        (b"<!-- never closed", "a text file, not a picture"),
        (b"\x07\x93\x00\xfe", "known format: save it as JPEG or PNG"),
    ],
)
def test_more_kinds_of_files_are_named(data, reason):
    with pytest.raises(UnreadablePicture, match=reason):
        decode_picture(data)


def lazily(data):
    """A picture that Pillow has opened and not decoded."""
    return Image.open(io.BytesIO(data))


def closed(data):
    with lazily(data) as picture:
        return picture


CUT = encoded(Image.effect_noise((90, 90), 90), "JPEG")[:900]


@pytest.mark.parametrize(
    "make, reason",
    [
        (lambda: lazily(CUT), "damaged: .*truncated"),
        (lambda: closed(CUT), "damaged: "),
        (lambda: Image.new("RGB", (0, 5)), "no pixels: 0 x 5"),
        (lambda: Image.new("L", (5, 0)), "no pixels: 5 x 0"),
    ],
)
@pytest.mark.parametrize(
    "enter",
    [
        lambda picture: render(picture, "a"),
        as_image,
        lambda picture: TinyClip().encode_images([picture]),
        lambda picture: match([picture], ["a"], TinyClip()),
    ],
)
def test_an_opened_picture_that_is_damaged_is_unreadable(make, reason, enter):
    with pytest.raises(UnreadablePicture, match=reason):
        enter(make())


def segment(number, body):
    """A part of a JPEG file for programs."""
    return bytes([0xFF, 0xE0 + number]) + struct.pack(">H", len(body) + 2) + body


@pytest.mark.parametrize(
    "stump",
    [
        segment(0, b"JFIF\0"),
        segment(0, b"JFIF\0\1\1"),
        segment(2, b"ICC_PROFILE\0"),
        segment(2, b"ICC_PROFILE\0\1"),
        segment(14, b"Adobe\0"),
        segment(1, b"Exif\0\0II"),
        segment(13, b"Photoshop 3.0\x008BIM"),
        segment(15, b""),
    ],
)
@pytest.mark.parametrize("lost", [0, 2])
def test_a_stump_beside_the_pixels_of_a_jpeg_does_no_harm(stump, lost):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(noisy("red"), "JPEG", exif=exif)
    data = data[: len(data) - lost]
    read = decode_picture(data[:2] + stump + data[2:])
    assert read.size == (40, 40)
    if b"Exif" not in stump:  # the first one counts
        assert np.array_equal(read, decode_picture(data))


@pytest.mark.parametrize("kind", [b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tIME"])
def test_a_stump_beside_the_pixels_of_a_png_does_no_harm(kind):
    data = encoded(noisy("red"), "PNG")
    read = decode_picture(data[:33] + chunk(kind, b"") + data[33:])
    assert np.array_equal(read, noisy("red"))


def test_the_preview_of_a_raw_photo_is_not_taken_for_it():
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0x00FE] = 1
    data = encoded(noisy("red"), "TIFF", tiffinfo=tags)
    with pytest.raises(UnreadablePicture, match="raw picture of a camera: save it"):
        decode_picture(data)
    tags[0x00FE] = 2  # one page of several
    assert decode_picture(encoded(noisy("red"), "TIFF", tiffinfo=tags)).size == (40, 40)
