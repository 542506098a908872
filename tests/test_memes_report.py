"""The report as text: a meme at a time, and the same as of one piece."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from vlmtutor.memes.match import Choice
from vlmtutor.memes.report import FORMAT, Meme, Report, Skipped


def report(memes: int, notes: list[str]) -> Report:
    other = Choice(1, "two\nlines\u2028and more\x85", 0.25, 0.1234567)
    matches = SimpleNamespace(alternatives_of=lambda row, k: [other])
    made = [
        Meme(f"{k}.png", f"{k}.jpg", k, 'a "b" \\ ü', 0.5, 0.75, ("odd",) * k)
        for k in range(memes)
    ]
    skipped = [Skipped("evil\x1b.png", "no picture")]
    settings = {"style": "auto", "font": None}
    return Report(Path("out"), settings, matches, made, skipped, notes=notes)


@pytest.mark.parametrize("memes", [0, 1, 3])
@pytest.mark.parametrize("notes", [[], ["something"]])
def test_the_pieces_make_what_one_piece_would(memes, notes):
    text = report(memes, notes).to_json()
    content = json.loads(text)
    assert text == json.dumps(content, ensure_ascii=False, indent=1) + "\n"
    assert [row["file"] for row in content["memes"]] == [
        f"{k}.jpg" for k in range(memes)
    ]
    for k, row in enumerate(content["memes"]):
        assert row["alternatives"] == [
            {
                "caption": "two\nlines\u2028and more\x85",
                "score": 0.25,
                "probability": 0.123457,
            }
        ]
        assert row.get("notes", []) == ["odd"] * k
    assert content["format"] == FORMAT and content.get("notes", []) == notes
    assert "\x1b" not in text and len(content["skipped"]) == 1


def test_no_piece_holds_more_than_a_meme():
    pieces = list(report(50, []).pieces())
    assert sum(piece.count('"source"') for piece in pieces) == 50
    assert max(piece.count('"source"') for piece in pieces) == 1
