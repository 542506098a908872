"""Floors: whose they are, and whether they hold; the pictures of images/."""

import json
from types import SimpleNamespace

import pytest

from vlmtutor.experiments import floors
from vlmtutor.experiments.floors import (
    IMAGES,
    STICKERCLIP,
    floors_of,
    folder_of,
    missed,
    own_lines,
    rows,
)
from vlmtutor.memes import read_captions
from vlmtutor.models.hub import STICKERCLIP as SHIPPED


def test_pairclips_floors_rise_with_what_it_saw():
    top = {n: floors_of("PairCLIP", n)["top1_sticker"] for n in (None, 600_000)}
    assert top == {None: 0.85, 600_000: 0.6}
    assert set(floors_of("pairclip", 2_304_000).values()) == {0.85}
    assert len(floors_of("pairclip")) == 3
    assert floors_of("PhraseCLIP", 900_000) == floors_of("pairclip", 900_000)
    assert floors_of("stickerclip") is STICKERCLIP
    assert floors_of("openai/clip-vit-base-patch32") == {}


def row(value):
    return {"mean": value, "min": value - 0.01, "max": value + 0.01}


def test_a_floor_holds_from_its_own_value_on():
    figures = {
        "top1_sticker": row(0.99),
        "meme_r5": row(0.6199),
        "binding_sides": row(0.5),
    }
    shown = rows(figures, {}, STICKERCLIP)
    assert shown[0] == ["top1_sticker", "99.0 %", "98.0 %", "100.0 %", "99.0 %", "yes"]
    assert shown[1][-2:] == ["62.0 %", "NO"]
    assert shown[2][-2:] == [None, None]
    pictures = {
        "own_line": {str(k): k < 23 for k in range(28)},
        "own_line_corrected": {str(k): k < 25 for k in range(28)},
    }
    plain, corrected = rows({}, pictures, STICKERCLIP)
    assert plain == ["own_line", "23 of 28", None, None, "23 of 28", "yes"]
    assert corrected[1] == "25 of 28" and corrected[-1] == "NO"
    assert missed(pictures)[1] == "own_line_corrected: not 25, 26, 27"
    assert missed({"own_line": {"a": True}}) == []


def test_pictures_with_a_line_of_their_own_are_counted(monkeypatch):
    truth = json.loads((IMAGES / "truth.json").read_text(encoding="utf-8"))
    captions = read_captions(IMAGES / "captions.txt")
    first = [captions.index(own[0]) for own in truth.values()]
    nobodys = next(
        j
        for j, line in enumerate(captions)
        if not any(line in t for t in truth.values())
    )

    def matching(paths, lines, clip, correction, cache):
        assert [p.stem for p in paths] == list(truth) and lines == captions
        chosen = list(first)
        if correction is None:  # two get a line of another, or of nobody
            chosen[0], chosen[5] = first[1], nobodys
        return SimpleNamespace(chosen=chosen)

    monkeypatch.setattr(floors, "match", matching)
    found = own_lines(None)
    assert list(found) == ["own_line", "own_line_corrected"]
    names = list(truth)
    assert len(names) == 28 and missed(found) == [
        f"own_line: not {names[0]}, {names[5]}"
    ]


@pytest.mark.parametrize("name", [None, "stickerclip", str(SHIPPED)])
def test_the_folder_of_a_model(name):
    assert folder_of(name) == SHIPPED
    assert folder_of("openai/clip-vit-base-patch32") is None
