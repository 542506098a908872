"""The folder ``images/``: pictures, captions, credits."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmtutor.world import find_category, load_categories, posters

FOLDER = Path(__file__).parent.parent / "images"
PICTURES = sorted(FOLDER.glob("*.png"))
RUN = 5  # words in a row that no caption may share with the words table


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.int16)  # [H, W, 3]


def words(text):
    return re.findall(r"[a-z0-9']+", text.lower())


def runs(text):
    found = words(text)
    return {tuple(found[i : i + RUN]) for i in range(len(found) - RUN + 1)}


@pytest.fixture(scope="module")
def captions():
    text = (FOLDER / "captions.txt").read_text(encoding="utf-8")
    head, *lines = text.splitlines()
    assert head.startswith("#")
    return lines


@pytest.fixture(scope="module")
def table():
    """Every line of the words table, held-out ones too."""
    return [
        line
        for c in load_categories()
        for line in (
            c.name,
            c.one,
            c.many,
            *c.synonyms,
            *c.descriptions,
            *c.memes,
            *c.held_out_memes,
        )
    ]


@pytest.fixture(scope="module")
def redrawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("posters")
    posters.draw_all(folder)
    return folder


def test_pictures_are_those_of_the_script():
    assert len(PICTURES) >= 24
    assert {p.stem for p in PICTURES} == set(posters.POSTERS)


@pytest.mark.parametrize("path", PICTURES, ids=lambda p: p.stem)
def test_redrawing_gives_the_picture(path, redrawn):
    stored, fresh = pixels(path), pixels(redrawn / path.name)
    assert stored.shape == fresh.shape == (512, 512, 3)
    # Another version of FreeType may draw an edge a shade lighter, so a few
    # pixels may differ: 0.1 % of them, less than a prop moved by 2 px does.
    off = (np.abs(stored - fresh).max(-1) > 24).mean()
    assert off < 0.001
    assert path.stat().st_size < 60_000


def test_redrawing_repeats_to_the_byte(redrawn, tmp_path):
    posters.glyphs.ink.cache_clear()
    for path in posters.draw_all(tmp_path):
        assert path.read_bytes() == (redrawn / path.name).read_bytes()


def test_drawing_leaves_other_files_alone(tmp_path, monkeypatch):
    one = {"monday": posters.POSTERS["monday"]}
    monkeypatch.setattr(posters, "POSTERS", one)
    (tmp_path / "mine.txt").write_text("keep me")
    assert posters.main([str(tmp_path)]) == 0
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["mine.txt", "monday.png"]
    assert (tmp_path / "mine.txt").read_text() == "keep me"


def test_script_explains_wrong_arguments(capsys):
    assert posters.main([]) == 2
    assert "usage" in capsys.readouterr().out


def test_one_sticker_dominates_each_picture():
    for name, row in posters.POSTERS.items():
        *_, second, first = sorted(put.size for put in row.stickers)
        assert first >= 0.6, name
        assert second <= 0.7 * first, name


def test_pictures_show_many_groups():
    largest = [
        max(row.stickers, key=lambda put: put.size) for row in posters.POSTERS.values()
    ]
    assert len({put.name for put in largest}) == len(largest)
    groups = {find_category(put.name).group for put in largest}
    assert len(groups) >= 7


def test_captions_are_many_different_and_short(captions):
    assert len(captions) >= 60
    assert len({line.lower() for line in captions}) == len(captions)
    for line in captions:
        assert 4 <= len(line.split()) <= 14, line


def test_no_caption_is_a_line_of_the_words_table(captions, table):
    known = {" ".join(words(line)) for line in table}
    assert not [c for c in captions if " ".join(words(c)) in known]


def test_no_caption_is_a_near_copy(captions, table):
    known = {run for line in table for run in runs(line)}
    assert len(known) > 10_000
    assert not {c: r for c in captions if (r := runs(c) & known)}


def test_truth_gives_every_picture_captions_of_the_list(captions):
    truth = json.loads((FOLDER / "truth.json").read_text(encoding="utf-8"))
    assert set(truth) == {path.stem for path in PICTURES}
    own = [line for lines in truth.values() for line in lines]
    assert set(own) <= set(captions)
    assert len(own) == len(set(own)) == 86  # the other 12 fit no picture


def test_masks_cover_what_the_stickers_draw():
    row = posters.POSTERS["printer"]
    image, (printer, hammer) = posters.draw(row)
    (bare, _), (alone, (whole,)) = (
        posters.draw(row._replace(stickers=row.stickers[:n])) for n in (0, 1)
    )
    bare, alone, full = (np.asarray(i, int) for i in (bare, alone, image))
    # Where ink is half transparent a pixel moves by half its way at most.
    for mask, before, after in ((whole, bare, alone), (hammer, alone, full)):
        moved = np.abs(after - before).max(-1) > 128
        assert not (moved & ~mask).any() and moved.sum() > 0.1 * mask.sum()
    assert not (printer & hammer).any()
    assert np.array_equal(printer, whole & ~hammer)


def test_credits_name_makers_and_licences():
    text = (FOLDER / "CREDITS.md").read_text(encoding="utf-8")
    for needed in ("OpenMoji", "https://openmoji.org", "CC BY-SA 4.0", "CC-BY 4.0"):
        assert needed in text
