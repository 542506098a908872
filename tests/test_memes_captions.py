import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmtutor.memes import read_captions
from vlmtutor.memes.captions import unique_captions
from vlmtutor.memes.names import MOST_BYTES, safe_stem, unused


@pytest.fixture
def write(tmp_path):
    def write(data):
        path = tmp_path / "captions.txt"
        path.write_bytes(data)
        return path

    return write


def test_one_caption_a_line(write):
    text = "\ufeff# ours\r\nfirst\r\n\r\n  second  \n # no\nfirst\nthird # 3"
    captions = read_captions(write(text.encode()))
    assert captions == ["first", "second", "third # 3"]


def test_a_hashtag_is_no_comment_and_what_is_left_out_is_counted(write):
    text = "#MondayMood\n# ours\n#1 reason to nap\n\t# more\n##\n#️⃣2\nnap\nnap\n## x\n\n"
    captions = read_captions(write(text.encode()))
    assert captions == ["#MondayMood", "#1 reason to nap", "#️⃣2", "nap"]
    assert captions.left_out == 5  # four comments, one repetition


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_where_editors_end_them(write, end):
    text = (
        "roses\u2028are\x85red\x0bor\x0cnot\x1c\u2029!",
        "\ufeffblue",
        "\ufeff# no",
        "x",
    )
    captions = read_captions(write(end.join(text).encode("utf-8-sig")))
    assert captions == ["roses are red or not !", "blue", "x"]


def test_spaces_that_hold_words_together_stay(write):
    french = "Pourquoi\u202f? Dit\u2007:\u00a0 non\u00a0"
    thai = "วัน\u200b จันทร์\u200b\u200bมา\u200b"
    captions = read_captions(write(f"{french}\n\u00a0\n{thai}".encode()))
    assert captions == ["Pourquoi\u00a0? Dit\u00a0:\u00a0non", "วัน\u200bจันทร์\u200bมา"]


@pytest.mark.parametrize(
    "data, message",
    [
        ("ä\nö".encode("utf-16"), "UTF-16"),
        ("a cat\nä\n".encode("utf-16-le"), "UTF-16"),
        ("a cat\n".encode("utf-16-be"), "UTF-16"),
        ("a cat".encode("utf-32"), "UTF-32"),
        (b"{\\rtf1\\ansi {\\fonttbl\\f0 Arial;}\nhi}", "an RTF document.*plain text"),
        (b"\xef\xbb\xbf<!DOCTYPE html>\n<p>403", "a web page .HTML."),
        (b'["a cat", "a dog"]', "a JSON file, not a list of captions"),
        (b'{"text": "a"}\n{"text": "b"}\n', "a JSON file"),
        (b"PK\3\4\x14\xff" + bytes(40), "a zip archive or Office document"),
        (b"%PDF-1.4\n%\xe2\xe3\xcf", "a PDF document"),
        (b"\x89PNG\r\n\x1a\n" + bytes(30), "not UTF-8 text"),
        (b"fine\ncaf\xe9\n", "not UTF-8 text .see line 2"),
        (b"# nothing\n\n   \n", "no captions in"),
        (b"", "no captions in"),
        (b"a\0b", "no text file.*: save it as plain text in UTF-8"),
        ("a cat\nb\n".encode("utf-16-le")[:-1], "no text file.*plain text in UTF-8"),
        ("a cat\n".encode("utf-32-be"), "no text file.*plain text in UTF-8"),
        (b"1\n00:00:01,000 --> 00:00:02,500\na cat\n", "a file of subtitles"),
        (b"WEBVTT\n\n01:02.000 --> 01:04.000\na cat\n", "a file of subtitles"),
        (b'[\n  "a cat",\n  "a dog",\n]\n', "a list as programs have it"),
        (b"['a cat', 'a dog']\n", "a list as programs have it"),
        (b'["a.png", "a cat"]\n["b.png", "a dog"]\n', "a list as programs have it"),
        (b"image,caption\n1_a.jpg,A cat .\n1_a.jpg,Naps .\n", "a table with names of"),
        (b"1_a.jpg#0\tA cat .\n1_a.jpg#1\tNaps .\n", "a table with names of"),
        (b'"my cat.PNG";"a cat, asleep"\n', "a table with names of pictures"),
        (b",image,caption\n0,a.jpg,A dog\n1,b.jpg,A cat\n", "a table with names of"),
        (b'caption,image\nA dog,a.jpg\n"A cat, old",b.jpg\n', "a table with names of"),
        (b"id\tfile\ttext\n7\tx/a b.png\tA dog\n8\tc.png\tX\n", "a table with names"),
        (b"0:00:00.599,0:00:04.160\nA dog\n", "a file of subtitles"),
        (b"[Events]\nDialogue: 0,0:00:01.00,0:00:02.50,,A dog\n", "of subtitles"),
        (b"[ti:x]\n[00:12.00]A dog\n[00:15.30]A cat\n", "a file of subtitles"),
        (
            b'CAPTIONS = [\n    "A dog",\n    "A cat",\n]\n',
            "a list as programs have it",
        ),
        (b'# ours\nc: list[str] = ["A dog", "A cat"]\n', "a list as programs have it"),
        (b"const c = [\n\t'A dog',\n\t'A cat'\n];\nuse(c);\n", "a list as programs"),
        (b'c = {\n  "a.jpg": "A dog",\n  "b.jpg": "A cat"}\n', "a list as programs"),
        (b"version https://git-lfs.github.com/spec/v1\noid x\n", "pointer of Git LFS"),
        (b"%PDF-1.4\n1 0 obj\n", "a PDF document, not a list"),
        (b"%!PS-Adobe-3.0\n", "a PostScript or EPS drawing, not a list"),
    ],
)
def test_other_files_get_a_clear_message(write, data, message):
    with pytest.raises(ValueError, match=message):
        read_captions(write(data))


def test_what_only_looks_as_if_made_for_programs_is_read(write):
    lines = ['["sighs"] a cat, again', "[it is monday]", '"I will be back"', "[]"]
    lines += ["9:00 --> 17:00", "cat.jpg, they said", "{format} %s", "a, b; c"]
    text = "\n".join([*lines, "the end"])
    assert read_captions(write(text.encode())) == [*lines, "the end"]


@pytest.mark.parametrize(
    "suffix",
    "HEIC heic HEIF bmp tif tiff avif gif webp jfif jp2 ico pcx qoi ppm".split(),
)
def test_a_table_is_known_by_every_suffix_of_pictures(write, suffix):
    text = f"image,caption\nIMG_1.{suffix},A dog runs\nIMG_2.{suffix},A cat naps\n"
    with pytest.raises(ValueError, match="a table with names of pictures"):
        read_captions(write(text.encode()))


@pytest.mark.parametrize(
    "line",
    [
        "12:30, and still no lunch",
        "cat.jpg, they said",
        "nobody:, me: saves it as final.heic",
        "open a.jpg",
        "[00:12.00] me at the gym",
        "0:00:00.599, a record",
        "x = y, [z]",
    ],
)
def test_one_line_that_looks_like_a_row_or_a_time_is_a_caption(write, line):
    assert read_captions(write(line.encode())) == [line]
    among = [line, 'mood = ["tired"]', '"fine", I said', "[Re: cats]", "[by: me]", "a"]
    assert read_captions(write("\n".join(among).encode())) == among


@pytest.mark.parametrize("unseen", ["\u00a0", "\u200b", "\u200e", "\u2060", "\ufeff"])
def test_a_comment_is_one_behind_what_is_not_seen(write, unseen):
    text = f"{unseen}# ours\n{unseen}#\n{unseen}#MondayMood\n{unseen} a cat"
    captions = read_captions(write(text.encode()))
    assert captions == ["#MondayMood", "a cat"] and captions.left_out == 2


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_captions(tmp_path / "none.txt")


def test_lists_are_cleaned_and_checked():
    assert unique_captions(["a", "", " a", "b\x00", " "]) == ["a", "b"]
    with pytest.raises(TypeError, match="list of captions"):
        unique_captions("abc")
    with pytest.raises(TypeError, match="caption 1 is a int, not a text"):
        unique_captions(["a", 3])


@pytest.mark.parametrize(
    "name, stem",
    [
        ("cat.png", "cat"),
        ("../../x.png", "x"),
        ("..\\..\\x.png", "x"),
        ("/etc/passwd", "passwd"),
        ("C:\\autoexec.bat", "autoexec"),
        ("a:b?c*.png", "a_b_c_"),
        ("..", "picture"),
        ("", "picture"),
        (".png", "png"),
        ("CON.png", "_CON"),
        ("lpt1.tar.png", "_lpt1.tar"),
        ("two\nlines\u202e.png", "twolines"),
        ("Größe 猫.jpeg", "Größe 猫"),
        ("bad\udcff.png", "bad_"),
        ("at 3.15.22\u202fPM.png", "at 3.15.22 PM"),
        ("写真\u3000１.png", "写真 １"),
        ("می\u200cخواهم.png", "می\u200cخواهم"),
        ("👩\u200d🚀 me.png", "👩\u200d🚀 me"),
        ("\u200d\u200c.png", "picture"),
        ("con\u200d.png", "_con"),
        ("a\u200f\u2066b\u200b.png", "ab"),
    ],
)
def test_safe_names(name, stem):
    assert safe_stem(name) == stem


@given(st.text(st.characters(categories=None), max_size=300))
def test_any_name_becomes_safe(name):
    stem = safe_stem(name)
    assert stem and stem == stem.strip() and not stem.startswith(".")
    assert not set(stem) & set('<>:"/\\|?*\0\n')
    assert len(stem.encode()) <= MOST_BYTES
    assert safe_stem(stem + ".png") == stem


def test_unused_names():
    taken = {"cat.png", "cat-2.png"}
    assert unused("dog", ".png", taken) == "dog.png"
    assert unused("CAT", ".png", taken) == "CAT-3.png"


def test_a_line_of_characters_that_are_not_drawn_is_counted(write):
    text = "a\n\u200b\n\x01\x02\n \n\u2060\n\u3164 \uffa0\n\u2800\u2800\n\u115f\u1160\n"
    captions = read_captions(write(text.encode()))
    assert captions == ["a"] and captions.left_out == 6
    assert captions.notes()[0].startswith("6 lines of captions left out")
    assert unique_captions(captions).left_out == 6  # whoever cleans them again
    assert unique_captions(["a"]).notes() == []


def test_what_is_no_file_of_captions_is_told_by_name(tmp_path, monkeypatch):
    with pytest.raises(IsADirectoryError, match=f"{tmp_path} is a folder"):
        read_captions(tmp_path)
    for name in ("a\0b", "x" * 5000, "~nobody-has-this-name/c.txt"):
        with pytest.raises(FileNotFoundError, match="there is no file"):
            read_captions(name)
    monkeypatch.setattr("vlmtutor.memes.captions.LARGEST", 10**6)
    endless = tmp_path / "endless.txt"
    endless.write_bytes(b"a\n" * 500_001)
    with pytest.raises(ValueError, match="endless.txt is too large: over 1 MB"):
        read_captions(endless)
