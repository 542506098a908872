"""Captions go where they hide least of what they are about."""

import numpy as np
import pytest
from clip_folders import write_siglip
from fake_clip import ColourClip, TinyClip
from PIL import Image, ImageOps
from test_explain import ColourPatchClip

from vlmtutor.__main__ import main
from vlmtutor.memes import STYLES, Placement, caption_folder, place_caption, render
from vlmtutor.memes.studio.state import StudioState
from vlmtutor.models import load_clip

SIDE = 320


class Seer(ColourPatchClip):
    """Knows where red is; sees a square of 32 pixels."""

    def preprocess(self, images):
        sides = {image.size[0] / image.size[1] for image in images}
        assert sides == {1.0}, "it would not see all of the picture"
        return super().preprocess([i.resize((32, 32), 0) for i in images])


def with_red(*boxes, size=(SIDE, SIDE)):
    """A dark picture with red in boxes given as shares of its sides."""
    picture = Image.new("RGB", size, (10, 10, 10))
    width, height = size
    for x0, y0, x1, y1 in boxes:
        corners = (x0 * width, y0 * height, x1 * width, y1 * height)
        picture.paste((250, 10, 10), tuple(map(round, corners)))
    return picture


TOP, BOTTOM = (0, 0, 1, 0.25), (0, 0.75, 1, 1)
WORDS = "this text is about the red thing and it is long enough for two"


@pytest.mark.parametrize(
    ("boxes", "style"),
    [
        ((TOP,), "bottom"),
        ((BOTTOM,), "top"),
        ((TOP, BOTTOM), "below"),
    ],
)
def test_it_stays_away_from_what_the_words_are_about(boxes, style):
    placement = place_caption(Seer(), with_red(*boxes), WORDS)
    assert placement.style == style
    assert set(placement.hides) == {"top", "bottom", "classic"}
    if style == "below":
        assert min(placement.hides.values()) > 0.2
    else:
        assert placement.hides[style] == min(placement.hides.values()) <= 0.2


@pytest.mark.parametrize("size", [(200, 600), (600, 200)])
def test_a_long_picture_is_seen_to_its_ends(size):
    for box, style in ((TOP, "bottom"), (BOTTOM, "top")):
        picture = with_red(box, size=size)
        assert place_caption(Seer(), picture, "red, red").style == style


def test_a_large_picture_and_a_small_one_agree():
    small, large = (with_red(TOP, size=(s, s)) for s in (SIDE, 4 * SIDE))
    one, other = (place_caption(Seer(), p, WORDS) for p in (small, large))
    assert one.style == other.style
    assert list(one.hides.values()) == pytest.approx(
        list(other.hides.values()), abs=0.03
    )


def test_what_a_place_hides_is_the_share_under_the_text():
    """The heat fills the upper quarter, and a little of the patches below."""
    placement = place_caption(Seer(), with_red(TOP), "red " * 40)
    assert placement.hides["top"] > 0.8
    assert placement.hides["bottom"] < 0.01
    assert 0.4 < placement.hides["classic"] < 0.8


def test_auto_draws_the_style_that_was_chosen():
    picture = with_red(TOP)
    drawn = render(picture, WORDS, "auto", clip=Seer())
    assert drawn.tobytes() == render(picture, WORDS, "bottom").tobytes()
    changed = np.asarray(drawn, int) != np.asarray(picture, int)
    assert not changed[: SIDE // 2].any() and changed[SIDE // 2 :].any()
    assert render(picture, " ", "auto", clip=Seer()).tobytes() == picture.tobytes()


def test_without_a_clip_the_shipped_model_looks():
    assert render(with_red(TOP), "a red apple", "auto").width == SIDE


def test_equal_places_are_taken_in_order():
    """A short text at both ends is a text at the bottom: it is called so."""
    placement = place_caption(Seer(), with_red(TOP), "red")
    assert placement.hides["classic"] == placement.hides["bottom"]
    assert placement.style == "bottom"


def test_the_reason_in_words():
    hides = {"top": 0.31, "bottom": 0.04, "classic": 0.2}
    assert Placement("bottom", hides).reason() == (
        "at the bottom: the text hides 4 % of the heat there, "
        "at the top 31 %, at both ends 20 %"
    )
    hides = {"top": 0.31, "bottom": 0.24, "classic": 0.25}
    assert Placement("below", hides).reason() == (
        "on a bar below: the text would hide at the top 31 %, at the bottom "
        "24 %, at both ends 25 % of the heat"
    )


def test_what_cannot_be_looked_into_is_said():
    with pytest.raises(ValueError, match="colour-clip"):
        place_caption(ColourClip(), with_red(TOP), "red")
    with pytest.raises(ValueError, match="no words"):
        place_caption(TinyClip(), with_red(TOP), "  ")


def test_a_siglip_is_refused_before_anything_is_done(tmp_path, capsys):
    siglip = load_clip(write_siglip(tmp_path / "siglip"))
    folder, out, texts = tmp_path / "in", tmp_path / "out", tmp_path / "c.txt"
    folder.mkdir()
    with_red(TOP).save(folder / "red.png")
    texts.write_text("a red thing\n")
    options = {"style": "auto", "progress": False}
    with pytest.raises(ValueError, match="has to ask a CLIP; .* is a SigLIP"):
        caption_folder(folder, texts, out, siglip, **options)
    words = [folder, "--captions", texts, "--out", out, "--model", tmp_path / "siglip"]
    assert main(["memes", *map(str, words), "--style", "auto"]) == 1
    assert "has to ask a CLIP" in capsys.readouterr().err
    assert not out.exists()


def test_the_studio_leaves_auto_with_a_siglip(tmp_path):
    siglip = load_clip(write_siglip(tmp_path / "siglip"))
    state = StudioState(TinyClip(), ["red"], tmp_path / "out")
    state.set_style("auto")
    state.set_clip(siglip)
    assert state.style == "classic" and "auto" not in state.styles()
    with pytest.raises(ValueError, match="style"):
        state.set_style("auto")


def test_a_panorama_takes_no_memory_for_its_margins(monkeypatch):
    seen, real = [], ImageOps.pad
    monkeypatch.setattr(
        ImageOps, "pad", lambda *a, **k: seen.append(real(*a, **k)) or seen[-1]
    )
    for size in ((30_000, 40), (33, 30_000)):
        picture = with_red((0, 0, 0.2, 1), size=size)
        assert place_caption(Seer(), picture, "red").style in STYLES
        assert max(seen.pop().size) <= 4096
