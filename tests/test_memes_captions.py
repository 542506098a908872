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


@pytest.mark.parametrize(
    "data, message",
    [
        ("ä\nö".encode("utf-16"), "UTF-16"),
        (b"fine\ncaf\xe9\n", "not UTF-8 text .see line 2"),
        (b"# nothing\n\n   \n", "no captions in"),
        (b"", "no captions in"),
        (b"a\0b", "no text file"),
    ],
)
def test_other_files_get_a_clear_message(write, data, message):
    with pytest.raises(ValueError, match=message):
        read_captions(write(data))


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
