"""Pictures with descriptions, and grids of pictures."""

import io

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from vlmtutor import StickerWorld, fonts
from vlmtutor.figures import (
    DASHES,
    HATCHES,
    MARKERS,
    PALETTE,
    TEXT,
    as_image,
    caption_font,
    frame,
    grid,
    show,
    style,
    wrap,
)

matplotlib.use("Agg")


@pytest.fixture
def shown(monkeypatch):
    """What show() hands to IPython: a list of (picture, metadata)."""
    import IPython.display

    out = []

    def keep(image):
        png, metadata = image._repr_mimebundle_()
        out.append((image.data, metadata))
        assert set(png) >= {"image/png"}

    monkeypatch.setattr(IPython.display, "display", keep)
    return out


def opened(png):
    return Image.open(io.BytesIO(png))


def test_a_picture_with_its_description(shown, capsys):
    assert show(Image.new("RGB", (30, 20), "red"), "A red\n picture.") is None
    assert capsys.readouterr().out == "A red picture.\n"
    png, metadata = shown[0]
    assert metadata["image/png"]["alt"] == "A red picture."
    assert opened(png).size == (30, 20)
    assert opened(png).getpixel((3, 3)) == (255, 0, 0)


def test_no_control_code_of_a_description_is_printed(shown, capsys):
    show(np.eye(4), "the file \x1b[31m\u202egnp.x\x07: 👩\u200d🚀 می\u200cخواهم")
    said = capsys.readouterr().out
    assert said == "the file \\x1b[31m\\u202egnp.x\\x07: 👩\u200d🚀 می\u200cخواهم\n"
    assert shown[0][1]["image/png"]["alt"] == said.strip()


def test_captions_are_in_the_alt_text(shown):
    pictures = [np.eye(4), np.zeros((4, 4))]
    show(pictures, "Two maps.", captions=["identity", "nothing"])
    alt = shown[0][1]["image/png"]["alt"]
    assert alt == "Two maps. identity; nothing"


def test_a_figure_is_closed_and_repeats_to_the_byte(shown):
    import matplotlib.pyplot as plt

    for _ in range(2):
        figure, axes = plt.subplots()
        axes.plot([1, 2, 3])
        show(axes, "A line.")
        assert not plt.fignum_exists(figure.number)
    assert shown[0][0] == shown[1][0]
    assert len(shown[0][0]) < 30_000


def test_a_description_is_asked_for(shown):
    with pytest.raises(ValueError, match="description"):
        show(np.eye(3), "  ")
    assert shown == []


@pytest.mark.parametrize(
    "picture",
    [
        np.full((4, 6, 3), 255, np.uint8),
        np.ones((4, 6)),
        np.ones((4, 6, 1), np.float32),
        np.ones((4, 6), bool),
        torch.ones(3, 4, 6),
        torch.ones(3, 4, 6, dtype=torch.bfloat16, requires_grad=True),
        torch.full((4, 6), 255, dtype=torch.uint8),
        Image.new("RGBA", (6, 4)),  # all transparent: white behind it
        Image.new("L", (6, 4), 255),
    ],
)
def test_many_forms_of_one_white_picture(picture):
    image = as_image(picture)
    assert image.mode == "RGB" and image.size == (6, 4)
    assert np.asarray(image).min() == 255


def test_scenes_and_files(tmp_path):
    scene = StickerWorld(32).scene(3)
    scene.image.save(tmp_path / "a.png")
    assert as_image(scene).tobytes() == scene.image.tobytes()
    assert as_image(tmp_path / "a.png").tobytes() == scene.image.tobytes()


@pytest.mark.parametrize(
    "thing", [3, np.zeros(4), np.zeros((2, 2, 7)), np.zeros((2, 2), int)]
)
def test_what_is_no_picture_is_refused(thing):
    with pytest.raises(TypeError):
        as_image(thing)


def test_values_below_are_cut_and_above_refused():
    pixels = np.array([[-1.0, 1.0001, np.nan]])
    assert np.asarray(as_image(pixels))[0, :, 0].tolist() == [0, 255, 0]
    for pixels in (np.array([[0, 1.5]]), torch.full((3, 4, 4), 128.0)):
        with pytest.raises(ValueError, match="from 0 .black. to 1 .white."):
            as_image(pixels)


def test_a_grid_keeps_pixels_square():
    checks = np.indices((2, 2)).sum(0) % 2 * 1.0
    sheet = np.asarray(grid([checks] * 3, size=40, columns=2))
    assert sheet.shape == (2 * 48, 2 * 48, 3)
    assert set(np.unique(sheet)) == {0, 255}
    assert np.array_equal(sheet[:48, :48], sheet[:48, 48:])
    assert (sheet[48:, 48:] == 255).all()  # no fourth picture
    assert (sheet[:48, :48, 0] == 0).sum() == 2 * 20 * 20


def test_a_large_picture_is_made_to_fit():
    assert grid([np.zeros((100, 400))], size=80).size == (88, 28)


def test_captions_fit_below_their_pictures():
    words = "a very long caption about a dog that reads the news every day"
    plain = grid([np.zeros((40, 40))] * 2, size=40)
    sheet = grid([np.zeros((40, 40))] * 2, [words, "short"], size=40)
    lines = wrap(words, caption_font(), 120).split("\n")
    assert sheet.height == plain.height + len(lines) * (TEXT + 4)
    assert all(caption_font().getlength(line) <= 120 for line in lines)
    assert " ".join(lines) == words
    edge = np.asarray(sheet)[:, [0, -1]]
    assert (edge == 255).all()


@pytest.mark.parametrize("text", ["", "x" * 500, "a\n\nb", "\u200f\u05e9"])
def test_wrapping_always_ends(text):
    lines = wrap(text, caption_font(), 60).split("\n")
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_a_grid_refuses_nonsense():
    with pytest.raises(ValueError, match="no pictures"):
        grid([])
    with pytest.raises(ValueError, match="1 pictures, 2 captions"):
        grid([np.eye(2)], ["a", "b"])


def test_colour_never_stands_alone():
    kinds = len(PALETTE)
    assert len(MARKERS) == len(DASHES) == len(HATCHES) == kinds
    assert len(set(MARKERS)) == len(set(map(str, DASHES))) == kinds
    with matplotlib.rc_context():
        style()
        cycle = list(matplotlib.rcParams["axes.prop_cycle"])
    assert len(cycle) == kinds
    assert set(cycle[0]) == {"color", "marker", "linestyle"}


def test_the_palette_is_told_apart_without_red_and_green():
    """Seen with deuteranopia (Viénot et al. 1999), no two colours are near."""
    to_lms = np.array(
        [
            [17.8824, 43.5161, 4.11935],
            [3.45565, 27.1554, 3.86714],
            [0.0299566, 0.184309, 1.46709],
        ]
    )
    blind = np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]])
    rgb = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in PALETTE.values()]
    seen = np.array(rgb) @ to_lms.T @ blind.T @ np.linalg.inv(to_lms).T
    gaps = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
    assert gaps[~np.eye(len(seen), dtype=bool)].min() > 25


def test_boxes_are_framed_and_named_below():
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    picture = np.zeros((8, 8, 3), np.uint8)
    frame(ax, picture, [[1, 2, 5, 8]], ["a cat"], dotted=[[0, 0, 4, 4]])
    unnamed, named = ax.patches
    assert (named.get_x(), named.get_y()) == (0.5, 1.5)  # pixels have middles
    assert (named.get_width(), named.get_height()) == (4, 6)
    assert unnamed.get_linestyle() != named.get_linestyle()
    (text,) = ax.get_legend().get_texts()
    assert text.get_text() == "a cat"
    plt.close("all")


def test_what_is_no_text_is_named(shown):
    picture = Image.new("RGB", (9, 9))
    for description in (None, 3, float("nan")):
        with pytest.raises(TypeError, match="description 0 is a"):
            show(picture, description)
    with pytest.raises(TypeError, match="caption 1 is a float, not a text"):
        grid([picture, picture], ["a", float("nan")])
    with pytest.raises(TypeError, match="a list of captions"):
        grid([picture], "a")


def test_the_font_with_most_of_the_letters_draws_a_caption(monkeypatch):
    paths = {"星": "/signs.ttf", "期": "/signs.ttf"}
    signs = frozenset(map(ord, "星期一又"))
    monkeypatch.setattr("vlmtutor.fonts.system_font", paths.get)
    real = fonts.letters_of
    real(fonts.dejavu())  # as long as fonts can be opened
    monkeypatch.setattr(
        "vlmtutor.fonts.letters_of",
        lambda path: signs if path == "/signs.ttf" else real(path),
    )
    chosen = []
    monkeypatch.setattr(
        "vlmtutor.figures.ImageFont.truetype", lambda path, size: chosen.append(path)
    )
    with pytest.warns(UserWarning, match="letters 星$"):
        caption_font("Monday 星")
    with pytest.warns(UserWarning, match="letters a$"):
        caption_font("星期一a")
    assert chosen == [fonts.dejavu(), "/signs.ttf"]
