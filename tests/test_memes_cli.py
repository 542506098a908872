import argparse
import io
import json
import sys

import pytest
from fake_clip import COLOURS, ColourClip, plain

from vlmtutor import fonts, models
from vlmtutor.__main__ import main
from vlmtutor.memes import cli


@pytest.fixture
def memes(tmp_path, monkeypatch):
    asked = []

    def load_clip(name=None, device="cpu"):
        asked.append((name, device))
        if name == "no/such":
            raise models.ModelNotFound("no/such is nowhere")
        return ColourClip()

    monkeypatch.setattr(models, "load_clip", load_clip)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for color in COLOURS:
        plain(color).save(pictures / f"{color}.png")
    captions = tmp_path / "captions.txt"
    captions.write_text("\n".join(f"so {c}" for c in COLOURS))

    def memes(*options, folder=pictures, captions=captions):
        parser = argparse.ArgumentParser()
        cli.add_arguments(parser)
        args = [
            str(folder),
            "--captions",
            str(captions),
            "--out",
            str(tmp_path / "out"),
            "--quiet",
            *options,
        ]
        return cli.run(parser.parse_args(args))

    memes.asked, memes.folder = asked, tmp_path
    return memes


def test_it_makes_memes_and_says_so(memes, capsys):
    (memes.folder / "pictures" / "bad\n.png").write_bytes(b"bad")
    assert memes() == 0
    said = capsys.readouterr().out
    assert "8 memes in" in said and "gallery.png" in said
    assert "skipped bad\\n.png: a text file, not a picture" in said
    assert memes.asked == [(None, "cpu")]
    assert len(list((memes.folder / "out").glob("*.png"))) == 9


def test_options_reach_the_work(memes):
    assert (
        memes(
            "--style",
            "below",
            "--assign",
            "one_to_one",
            "--upper",
            "--model",
            "some/model",
            "--device",
            "auto",
            "--fresh",
        )
        == 0
    )
    assert memes.asked == [("some/model", "auto")]
    report = (memes.folder / "out" / "report.json").read_text()
    assert '"style": "below"' in report and '"one_to_one"' in report
    assert '"upper": true' in report


@pytest.mark.parametrize(
    "change, message",
    [
        ({"folder": "nowhere"}, "there is no folder nowhere"),
        ({"captions": "nowhere.txt"}, "there is no file nowhere.txt"),
        ({"options": ["--model", "no/such"]}, "no/such is nowhere"),
        ({"options": ["--font", "no.ttf"]}, "cannot read the font no.ttf"),
    ],
)
def test_one_clear_line_when_it_cannot(memes, capsys, change, message):
    options = change.pop("options", [])
    assert memes(*options, **change) == 1
    said = capsys.readouterr().err
    assert said.startswith("[FAIL]") and message in said
    assert "Traceback" not in said


def test_no_readable_picture_is_a_failure(memes, capsys):
    for path in (memes.folder / "pictures").iterdir():
        path.write_bytes(b"bad")
    assert memes() == 1
    assert "8 files skipped" in capsys.readouterr().out


def test_interruption_is_said(memes, capsys, monkeypatch):
    def interrupted(self, images):
        raise KeyboardInterrupt

    monkeypatch.setattr(ColourClip, "encode_images", interrupted)
    assert memes() == 130
    assert "goes on from here" in capsys.readouterr().err


def test_letters_that_no_font_has_and_left_out_lines_are_told(
    memes, capsys, monkeypatch
):
    monkeypatch.setattr(fonts, "system_font", lambda char: None)
    captions = memes.folder / "captions.txt"
    captions.write_text("# ours\nso red 星期\nso red 星期\n", encoding="utf-8")
    assert memes() == 0
    said = capsys.readouterr().out
    assert "note: 2 lines of captions left out" in said
    assert "and 7 more: no font here has the letters 星 期" in said
    report = json.loads((memes.folder / "out" / "report.json").read_text("utf-8"))
    assert "2 lines of captions left out" in report["notes"][0]
    for meme in report["memes"]:
        assert "no font here has the letters 星 期" in meme["notes"][0]
    captions.write_text("so red", encoding="utf-8")
    assert memes() == 0 and "note" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [
        {"folder": "no\x1b[31mwhere"},
        {"captions": "no\x1b[31mwhere"},
        {"options": ["--font", "no\x1b[31m.ttf"]},
        {"options": ["--model", "no\x1b[31m/such"]},
    ],
)
def test_no_control_code_reaches_the_terminal(memes, capsys, change, monkeypatch):
    def load_clip(name=None, device="cpu"):
        raise models.ModelNotFound(f"{name} is nowhere,\nlooked for in vain")

    if "--model" in change.get("options", ()):
        monkeypatch.setattr(models, "load_clip", load_clip)
    assert memes(*change.pop("options", ()), **change) == 1
    said = capsys.readouterr().err
    assert "\x1b" not in said and "no\\x1b[31m" in said


@pytest.mark.parametrize(
    "words", [["download", "a\x1b[31m/b"], ["notebooks", "a\x1b[31m"]]
)
def test_other_commands_hold_control_codes_back_too(words, capsys):
    assert main(words) != 0
    assert "\x1b" not in "".join(capsys.readouterr())


def test_arguments_with_control_codes_are_complained_of_without(capsys):
    for words in (
        ["memes", "a", "--captions", "b", "--out", "c", "evil\x1b[31m.png"],
        ["memes", "a", "--captions", "b", "--out", "c", "--style", "\u202ex"],
        ["notebooks", "--no-such\x1b[31m"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        said = capsys.readouterr().err
        assert ended.value.code == 2 and "error: " in said
        assert "\x1b" not in said and "\u202e" not in said


@pytest.mark.parametrize("where", ["folder", "captions"])
def test_a_line_end_in_a_name_forges_no_line(memes, capsys, where):
    assert memes(**{where: "no\n[OK] all done"}) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "no\\n[OK] all done" in said
    assert main(["notebooks", "no\n[OK] such"]) != 0
    assert capsys.readouterr().err.count("\n") == 1


def test_an_out_without_a_name_writes_nothing(memes, capsys, monkeypatch):
    monkeypatch.chdir(memes.folder)
    before = sorted(memes.folder.rglob("*"))
    assert memes("--out", "") == 1  # a variable of the shell that is not set
    assert "no folder is called ''" in capsys.readouterr().err
    assert sorted(memes.folder.rglob("*")) == before


class Gone(io.StringIO):
    """The pipe to a program that has ended, as "head" does."""

    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


class GoneLater(Gone):
    """The same, found out when what has been kept back is written."""

    def write(self, text):
        return len(text)

    def flush(self):
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("pipe", [Gone, GoneLater])
def test_a_reader_that_has_gone_ends_the_command_quietly(
    memes, capsys, pipe, monkeypatch
):
    home = memes.folder
    words = ["memes", home / "pictures", "--captions", home / "captions.txt"]
    words += ["--out", home / "out", "--quiet"]
    monkeypatch.setattr(sys, "stdout", pipe())
    assert main(list(map(str, words))) == 141
    assert (memes.folder / "out" / "report.json").exists()
    assert "Traceback" not in capsys.readouterr().err
