import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from bidi import get_display
from emoji import EMOJI_DATA
from fake_clip import ColourClip
from fontTools.ttLib import TTFont
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features
from scipy import ndimage

from vlmtutor import MemeStudio, fonts
from vlmtutor.memes import STYLES, direction, letters, render
from vlmtutor.memes.fitting import ELLIPSIS, fit
from vlmtutor.memes.layout import drawn_text, split_in_two
from vlmtutor.memes.letters import choose_face, clean_text, split_runs

GRAY = (128, 128, 128)
OUTLINED = ("classic", "top", "bottom")
MEETING = "a1 \r\n\t\u00a0\u200b\u200e\u034f\u0301\u3164\u1160\u1161\u2800"
LONG_WORD = "Donaudampfschifffahrtsgesellschaftskapitän"
SENTENCE = "Nobody has ever wagged this hard at me, and I only took the bins out"


def gray(width=512, height=512):
    return Image.new("RGB", (width, height), GRAY)


def changed(meme, picture):
    """Where a meme differs from its picture: [H, W] bool."""
    return (np.asarray(meme) != np.asarray(picture)).any(-1)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("text", ["", " \n ", "\u200b", "|"])
def test_empty_caption_changes_no_pixel(style, text):
    noise = np.random.default_rng(0).integers(0, 255, (64, 48, 3), np.uint8)
    picture = Image.fromarray(noise)
    meme = render(picture, text, style)
    assert meme is not picture
    assert not changed(meme, picture).any()


@pytest.mark.parametrize("style", OUTLINED)
def test_outlined_styles_keep_size_and_original(style):
    picture = gray(300, 200)
    meme = render(picture, SENTENCE, style)
    assert meme.mode == "RGB" and meme.size == picture.size
    assert changed(meme, picture).any()
    assert picture.getcolors() == [(300 * 200, GRAY)]


@pytest.mark.parametrize("style", ["above", "below"])
def test_bar_is_added_and_picture_untouched(style):
    picture = gray(300, 200)
    meme = render(picture, SENTENCE, style)
    assert meme.width == 300 and 200 < meme.height <= 330
    top = meme.height - 200 if style == "above" else 0
    inside = meme.crop((0, top, 300, top + 200))
    assert not changed(inside, picture).any()
    bar_top = 0 if style == "above" else 200
    bar = meme.crop((0, bar_top, 300, bar_top + meme.height - 200))
    colors = np.asarray(bar).reshape(-1, 3)
    assert (colors == 0).all(-1).any() and (colors == 255).all(-1).any()


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(max_size=120),
    width=st.integers(64, 500),
    height=st.integers(64, 500),
    style=st.sampled_from(OUTLINED),
)
def test_any_text_stays_off_the_edge(text, width, height, style):
    picture = gray(width, height)
    ink = changed(render(picture, text, style), picture)
    ring = np.ones_like(ink)
    ring[1:-1, 1:-1] = False
    assert not (ink & ring).any()


@pytest.mark.parametrize(
    "size", [(64, 64), (512, 300), (2000, 1500), (4000, 4000), (4000, 64), (64, 4000)]
)
@pytest.mark.parametrize("style", ["classic", "below"])
def test_small_and_large_pictures(size, style):
    picture = gray(*size)
    meme = render(picture, SENTENCE, style)
    if style == "classic":
        ink = changed(meme, picture)
        assert not ink[0].any() and not ink[-1].any()
        assert not ink[:, 0].any() and not ink[:, -1].any()
    pixels = np.asarray(meme)
    assert (pixels == 255).all(-1).any() and (pixels < 40).all(-1).any()


@pytest.mark.parametrize("size", [200, 512])
def test_white_letters_are_surrounded_by_black(size):
    picture = Image.new("RGB", (size, size), (0, 120, 255))
    pixels = np.asarray(render(picture, SENTENCE, "bottom")).astype(int)
    lightest = pixels.min(-1) > 200
    untouched = (pixels == (0, 120, 255)).all(-1)
    assert lightest.any()
    for axis in (0, 1):
        for shift in (-1, 1):
            beside = np.roll(untouched, shift, axis)
            assert not (lightest & beside).any()


def test_classic_splits_and_bottom_does_not():
    picture = gray()
    classic = changed(render(picture, "who is | a good boy"), picture)
    assert classic[:150].any() and classic[-150:].any()
    assert not classic[150:-150].any()
    bottom = changed(render(picture, "who is | a good boy", "bottom"), picture)
    assert not bottom[:256].any() and bottom[256:].any()
    short = changed(render(picture, "short"), picture)
    assert not short[:256].any()


def test_long_text_is_split_where_a_sentence_ends():
    from vlmtutor.memes.layout import split_in_two

    text = "who's a good boy? after that performance review, not me"
    face = choose_face(text)
    head, tail = split_in_two(text, face, (480, 200), 60, 15)
    assert head == "who's a good boy?" and tail.startswith("after")


def test_same_call_same_pixels():
    first, second = (render(gray(), SENTENCE + " 🐶") for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_upper_sets_capitals():
    small, capitals = render(gray(), "straße"), render(gray(), "STRASSE")
    assert render(gray(), "straße", upper=True).tobytes() == (capitals.tobytes())
    assert small.tobytes() != capitals.tobytes()


def test_what_cannot_be_done_is_said():
    with pytest.raises(ValueError, match="unknown style 'comic'.*classic"):
        render(gray(), "text", "comic")
    with pytest.raises(ValueError, match="too small to write on: 20 x 500"):
        render(gray(20, 500), "text")
    with pytest.raises(OSError):
        render(gray(), "text", font="no-such-font.ttf")


@pytest.mark.parametrize("size", [96, 512, 2000])
@pytest.mark.parametrize(
    "text", ["hi", SENTENCE, LONG_WORD, SENTENCE + " 🐶🦴", "ab " * 40]
)
def test_usual_captions_are_shown_whole(size, text):
    text = clean_text(text)
    largest = size // 8
    block = fit(text, choose_face(text), size, size // 2, largest, 6)
    assert not block.is_cut
    joined = "".join("".join(block.lines).split())
    assert joined == "".join(text.split())


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("unit", ["word ", "x", "🐶", "שלום "])
def test_ten_thousand_characters(style, unit):
    text = (unit * 10_000)[:10_000]
    picture = gray(256, 256)
    meme = render(picture, text, style)
    assert meme.height <= 256 * 1.7
    block = fit(text, choose_face(text), 250, 100, 30, 8)
    assert block.is_cut and block.lines[-1].endswith(ELLIPSIS)
    assert len(block.lines) * block.size <= 110


@settings(max_examples=50, deadline=None)
@given(
    text=st.text(st.sampled_from("abcdefgh  éß漢🐶,.\n"), max_size=80),
    width=st.integers(40, 600),
    height=st.integers(30, 400),
)
def test_lines_fit_the_box_and_keep_the_words(text, width, height):
    text = clean_text(text)
    face = choose_face(text)
    block = fit(text, face, width, height, 60, 6)
    room = (width - 2 * block.outline) / block.size
    assert all(face.width(line) <= room + 1e-6 for line in block.lines)
    if not block.is_cut:
        assert "".join("".join(block.lines).split()) == "".join(text.split())
    larger = fit(text, face, 2 * width, 2 * height, 60, 6)
    # At half of the largest size whole words go before large letters.
    assert larger.size >= min(block.size, 30)


@given(st.one_of(st.text(max_size=60), st.text(MEETING, max_size=9)))
def test_cleaning_twice_is_cleaning_once(text):
    once = clean_text(text)
    assert clean_text(once) == once
    assert not any(ord(c) < 32 and c != "\n" for c in once)


def test_cleaning():
    assert clean_text(" a\t b\r\nc\x00\x07 ") == "a b\nc"
    assert clean_text("half \ud83d pair") == "half ? pair"
    assert clean_text("\u202eevil\u202c") == "evil"
    assert clean_text("👩‍🚀") == "👩‍🚀"


def test_every_early_emoji_is_a_letter_or_a_picture_and_no_box(system):
    early = [c for c in EMOJI_DATA if len(c) == 1 and ord(c) < 0x2600]
    assert len(early) > 40 and [c for c in early if letters.complaints(c)] == []
    clock = np.asarray(render(Image.new("RGB", (200, 200), GRAY), "⏳", "below"))
    assert np.ptp(clock[200:].astype(int), axis=2).max() > 60  # in colour
    assert split_runs("© ▶ →") == [("© ▶ →", False)]


@pytest.mark.parametrize("unseen", ["\u034f", "\u115f", "\u1160", "\u17b4", "\u17b5"])
def test_letters_that_nobody_sees_are_no_boxes(unseen):
    plain = render(gray(), "a cat", "bottom")
    assert render(gray(), f"{unseen}a {unseen}cat", "bottom") == plain
    assert render(gray(), unseen, "bottom") == gray()


@pytest.mark.parametrize("unseen", ["\u3164", "\uffa0", "\u3164 \uffa0"])
def test_letters_that_are_blank_are_spaces(unseen, recwarn):
    assert clean_text(f"{unseen}a{unseen}cat") == "a cat"
    assert render(gray(), unseen, "bottom") == gray()
    assert letters.complaints("⠀⣿⠀") == [] and clean_text("⠀⣿⠀") == "⠀⣿⠀"
    # what is white in a picture of Braille cells is no box beside letters
    assert fonts.has(choose_face("a⠀b").path, "⠀")
    assert render(gray(), "⠀⠀\u180b", "bottom") == gray() and not recwarn.list


def test_georgian_has_no_capitals_on_a_meme():
    text = "გამარჯობა, cat ß"
    with pytest.warns(UserWarning, match="no font here has the letters Გ Ა"):
        render(gray(), text.upper())  # as Unicode has them
    assert drawn_text(text, upper=True) == "გამარჯობა, CAT SS"


def test_emoji_are_drawn_as_coloured_pictures():
    assert [r.text for r in split_runs("I ❤️ 👩‍🚀©") if r.is_emoji] == ["❤️", "👩‍🚀"]
    picture = gray(256, 256)
    pixels = np.asarray(render(picture, "🍎", "bottom")).astype(int)
    assert (np.ptp(pixels, axis=-1) > 60).sum() > 50  # not grey
    face = choose_face("x")
    assert face.width("👩‍🚀") == face.width("🍎")


def test_fonts_are_chosen_by_what_they_have():
    assert "Anton" in choose_face("Größe: 100 % 🐶").path
    for text in ("Ωμέγα", "Привет", "שלום", "مرحبا"):
        assert "DejaVu" in choose_face(text).path


@pytest.mark.parametrize(
    "line, shown",
    [
        ("abc", "abc"),
        ("אבג", "גבא"),
        ("אב 12 ג", "ג 12 בא"),
        ("(אב) x", "x (בא)"),
        ("x אב y", "y בא x"),
        ("אב (12), x", "x ,(12) בא"),
        ("אב 3.14 50% ג", "ג 50% 3.14 בא"),
    ],
)
def test_right_to_left_order(line, shown):
    assert displayed(line, True) == shown


def displayed(line, backward):
    pieces = direction.parts(line, backward)
    return "".join(direction.displayed(*piece) for piece in pieces)


def test_left_to_right_lines_turn_only_the_foreign_words():
    assert displayed("x אב y", False) == "x בא y"
    assert not direction.is_right_to_left("12 x א")
    assert direction.is_right_to_left("12 א x")


@given(st.text(st.sampled_from("abאבג12 ()\u200d\u05bc😭"), max_size=30), st.booleans())
def test_the_pieces_of_a_line_lose_no_character(line, backward):
    joined = "".join(piece for piece, _ in direction.parts(line, backward))
    visible = [c for c in line if c != "\u200d"]
    assert sorted(c for c in joined if c != "\u200d") == sorted(visible)


@settings(max_examples=300)
@given(st.text("ab אב()[]{}12!,", max_size=16), st.booleans())
def test_brackets_are_ordered_as_the_library_orders_whole_lines(line, backward):
    pieces = direction.parts(line, backward)
    ours = "".join(p[::-1] if turned else p for p, turned in pieces)
    assert ours == get_display(line, base_dir="LR"[backward])


def test_an_emoji_does_not_tear_brackets_apart():
    face = choose_face("שלום (abc) 12 🐶")
    pieces = [p[0] for p in face.pieces("שלום (abc) 12 🐶", True)]
    assert pieces[0] == "🐶" and "abc" in pieces and "12" in pieces
    assert pieces.index("12") < pieces.index("abc")


@pytest.mark.skipif(not features.check("raqm"), reason="Pillow without Raqm")
def test_hebrew_without_raqm_looks_as_with_it(monkeypatch):
    text = "שלום עולם (2024), ABC"

    def drawn():
        return np.asarray(render(gray(), text, "bottom")).astype(int)

    shaped = drawn()
    monkeypatch.setattr(letters, "_shapes_text", lambda: False)
    basic = drawn()
    monkeypatch.setattr(direction, "displayed", lambda line, _: line)
    unordered = drawn()
    far = np.abs(shaped - unordered).mean()
    assert np.abs(shaped - basic).mean() < far / 3


def test_emoji_sequence_without_raqm(monkeypatch):
    monkeypatch.setattr(letters, "_shapes_text", lambda: False)
    picture = gray(128, 128)
    assert changed(render(picture, "👩‍🚀 مرحبا"), picture).any()


# Letters beyond the two fonts that come along.


@pytest.fixture
def star_font(tmp_path):
    """A font whose 星 and क look like DejaVu's A and B; no other letters."""
    with TTFont(fonts.dejavu("DejaVuSans-Bold.ttf")) as font:
        for table in font["cmap"].tables:
            table.cmap = {0x661F: "A", 0x915: "B", 0x20: "space"}
        font.save(tmp_path / "star.ttf")
    return str(tmp_path / "star.ttf")


@pytest.fixture
def system(monkeypatch):
    """Set which fonts the computer has."""

    def system(*paths):
        fonts.system_font.cache_clear()
        monkeypatch.setattr(fonts, "_system_fonts", lambda: paths)

    system()
    yield system
    fonts.system_font.cache_clear()


def test_each_letter_comes_from_a_font_that_has_it(star_font, system):
    picture, text, options = gray(), "星क", {"style": "below"}
    system(star_font)
    stars = render(picture, text, **options)
    with pytest.warns(UserWarning, match="no font here has the letters 星 क .boxes"):
        system()
        boxes = render(picture, text, **options)
    assert stars != boxes
    named = render(picture, text, font=star_font, **options)
    assert named != boxes and letters.complaints(text, star_font) == []
    # The others keep the look that they have alone, whichever font is named.
    system(star_font)
    face = choose_face("day = 星")
    assert "Anton" in face.path and face.paths[1] == star_font and not face.missing
    assert face.width("day = 星") == face.width("day = ") + face.width("星")
    assert choose_face("Ωμ 星").path.endswith("DejaVuSans-Bold.ttf")
    assert choose_face("day", font=star_font).paths[0] == star_font


def test_ordinary_text_says_nothing(recwarn):
    for text in ("Größe: 100 % 😭", "Ωμέγα", "مرحبا שלום", "non\u00a0? a\u200bb", "①"):
        assert letters.complaints(text) == []
        render(gray(64, 64), text)
    assert not recwarn.list


def test_an_emoji_without_a_picture_is_named(monkeypatch):
    monkeypatch.setattr(letters, "_emoji", lambda char, side: None)
    (said,) = letters.complaints("go 👩\u200d🚀 go 🐶")
    assert said.startswith("no font here has the letters 👩\u200d🚀 🐶 (boxes")


@pytest.mark.parametrize("data", [b"", b"no font", b"wOF2" + bytes(90)])
def test_a_font_that_is_none_is_one_line(tmp_path, data):
    (tmp_path / "x.ttf").write_bytes(data)
    for path in (tmp_path / "x.ttf", tmp_path, tmp_path / "gone.ttf"):
        with pytest.raises(OSError, match="cannot read the font"):
            render(gray(), "hello", font=path)
        with pytest.raises(OSError, match="cannot read the font"):
            MemeStudio(tmp_path, ["a"], ColourClip(), tmp_path / "out", font=path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_font_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.ttf")
    assert not fonts.has(str(tmp_path / "x.ttf"), "a")
    with pytest.raises(OSError, match="x.ttf: not an ordinary file"):
        render(gray(), "hello", font=tmp_path / "x.ttf")


def test_a_font_whose_other_letters_are_blank(star_font, tmp_path):
    with TTFont(star_font) as font:
        font["glyf"][".notdef"] = font["glyf"]["space"]
        font.save(tmp_path / "blank.ttf")
    for text in ("星", "hello cat", "星 hello"):
        meme = render(gray(), text, "bottom", font=tmp_path / "blank.ttf")
        assert changed(meme, gray()).any()


def test_a_font_without_letters_is_refused():
    symbols = fonts.dejavu("STIXSizOneSymReg.ttf")
    with pytest.raises(OSError, match="no letters in it"):
        render(gray(), "hello", font=symbols)


def test_the_studio_tells_of_missing_letters(tmp_path, system, star_font):
    gray(64, 64).save(tmp_path / "a.png")
    told, out = "Note: no font here has the letters 星", tmp_path / "out"
    for font, is_told in ((None, True), (star_font, False)):
        studio = MemeStudio(tmp_path, ["星"], ColourClip(), out, font=font)
        assert (told in studio.ui.status.value) == is_told
        studio.ui.save_all.click()
        with zipfile.ZipFile(out / "memes.zip") as file:
            (row,) = json.loads(file.read("memes.json"))
        assert ("notes" in row) == is_told
        (out / "memes.zip").unlink()


def test_no_matplotlib_is_needed_to_draw():
    code = (
        "from PIL import Image; from vlmtutor.memes import render; import sys;"
        "from vlmtutor.figures import grid;"
        "render(Image.new('RGB', (99, 99)), 'żółw Ω'); grid([Image.new('L', (9, 9))],"
        "['x']); assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("width", range(60, 400, 40))
def test_no_line_begins_with_a_mark(width):
    text = clean_text("Encore lundi\u00a0? Mais pourquoi\u202f! Il dit\u00a0: non")
    block = fit(text, choose_face(text), width, 400, 40, 12)
    assert not [line for line in block.lines if line[0] in "?!:"]
    text = clean_text("星期一又来了，我还没睡醒。再睡一会儿！" * 3)
    lines = fit(text, choose_face(text), width, 60, 40, 12).lines
    assert len(lines) > 1 and not [line for line in lines if line[0] in "，。！"]


def test_chinese_and_japanese_may_break_behind_each_sign():
    text = "周一早上的我：咖啡（还没）起作用，コーヒーって「最高」だGPT4"
    face, width = choose_face(text), 200
    block = fit(clean_text(text), face, width, 400, 40, 8)
    assert "".join(block.lines) == text and len(block.lines) > 3
    assert block.size > 30  # not one small line, as of a long word
    for line in block.lines:
        assert line[0] not in "：），ーっ」" and line[-1] not in "（「"
    assert all("GPT4" in line for line in block.lines if set("GPT4") & set(line))
    korean = clean_text("띄어쓰기가 있다")
    assert fit(korean, face, 150, 400, 40, 8).lines == tuple(korean.split())


def test_thai_breaks_where_the_writer_allows_it():
    words = ["วันจันทร์", "มา", "แล้ว", "ครับ"]
    text = clean_text("\u200b".join(words))
    block = fit(text, choose_face(text), 260, 300, 40, 30)
    assert len(block.lines) > 1 and "".join(block.lines) == "".join(words)
    assert all(any(line.endswith(word) for word in words) for line in block.lines)


def strokes(image):
    """How many separate pieces of black ink a white bar has."""
    return ndimage.label(np.asarray(image.convert("L")) < 128)[1]


@pytest.mark.parametrize("word", ["محمد", "سلام", "چپگ"])  # Arabic and Persian
def test_arabic_letters_join_without_raqm(word, monkeypatch):
    def bar():
        return render(Image.new("RGB", (400, 64), "white"), word, "above")

    shaped = bar()
    monkeypatch.setattr(letters, "_shapes_text", lambda: False)
    basic = bar()
    letters_apart = sum(c in "دراوزذ" for c in word) + 1
    dots = 3 * sum(c in "چپ" for c in word)
    assert strokes(basic) <= letters_apart + dots < len(word) + dots + 1
    if features.check("raqm"):
        assert strokes(basic) == strokes(shaped)


def test_what_only_raqm_can_put_together_is_told(monkeypatch):
    monkeypatch.setattr(letters, "_shapes_text", lambda: False)
    for text, is_told in (("सोमवार", True), ("مرحبا", False), ("hi", False)):
        said = " ".join(letters.complaints(text))
        assert ("FriBiDi" in said) == is_told


def test_mixed_lines_have_one_order_with_and_without_raqm(monkeypatch):
    """With an emoji the line is put in order here, not by Raqm."""
    face = choose_face("שa")
    for shaped in (True, False):
        monkeypatch.setattr(letters, "_shapes_text", lambda shaped=shaped: shaped)
        pieces = face.pieces("אב ab 😭 cd גד", True)
        texts = [text.strip() for text, _, _ in pieces]
        assert [text for text in texts if text] == ["גד", "ab", "😭", "cd", "אב"]


@pytest.mark.parametrize("width", range(200, 520, 40))
def test_a_mark_that_stands_alone_stays_with_its_word(width):
    text = "Pourquoi tu ris encore ? Parce que lundi ! Il dit : « bon », 100 % sûr ?!"
    lines = fit(text, choose_face(text), width, 900, 40, 12).lines
    assert " ".join(lines) == text
    assert not [line for line in lines if line[0] in "?!:»%" or line[-1] == "«"]
    head, tail = split_in_two(text, choose_face(text), (width, 400), 40, 12)
    assert tail and tail[0] not in "?!:»%" and head[-1] != "«"
