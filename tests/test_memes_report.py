"""The report as text: a meme at a time, and the same as of one piece."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from vlmtutor.memes.match import Choice
from vlmtutor.memes.report import FORMAT, Meme, Report, Skipped, json_text


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
    assert text == json_text(content) + "\n"
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


NAMES = (
    "at 3.15.22\u202fPM.png",
    "写真\u3000１.png",
    "می\u200cخواهم.png",
    "👩\u200d🚀.png",
    "\u202egnp.exe",
    "\x1b[31m\x9b.png",
    "bad\udcff.png",
    "a\\u202f.png",
)


@pytest.mark.parametrize("name", NAMES)
def test_the_report_holds_the_name_that_the_file_has(name):
    made = report(1, [])
    made.memes = [Meme(name, "1.jpg", 0, "a", 0.5, 0.75)]
    made.skipped, made.settings["font"] = [Skipped(name, "no picture")], name
    content = json.loads(made.to_json().encode())  # as UTF-8, which a file is
    assert content["memes"][0]["source"] == content["skipped"][0]["name"] == name
    assert content["settings"]["font"] == name


@pytest.mark.parametrize("name", NAMES[4:7])
def test_no_name_steers_the_terminal_that_shows_the_report(name):
    made = report(0, [])
    made.skipped = [Skipped(name, "no picture")]
    assert made.to_json().replace("\n", "").isprintable()
    noted = Report(Path("out"), {}, None, [Meme(name, "1", 0, "", 0, 0, ("odd",))])
    assert noted.remarks()[0].isprintable()
