"""The hand-written table of words, and what training may see of it."""

import random
import re
from collections import Counter, defaultdict

import emoji
import numpy as np
import pytest

from vlmtutor.pretrain.build import build_vocabulary, training_texts
from vlmtutor.pretrain.config import PretrainConfig
from vlmtutor.pretrain.data import PretrainData, random_phrase
from vlmtutor.pretrain.teacher import free_texts, table_texts
from vlmtutor.world import (
    CaptionMix,
    StickerWorld,
    find_category,
    load_categories,
    random_caption,
)
from vlmtutor.world.categories import DENSE_BASE, HELD_OUT_MEMES, NOVEL_TO_RELATIVE
from vlmtutor.world.glyphs import sticker

TABLE = load_categories()
HELD_OUT = [line for c in TABLE for line in c.held_out_memes]


def plain(text):
    """Lower case, letters and digits only: what makes two lines equal."""
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def twice(texts):
    return [text for text, n in Counter(map(plain, texts)).items() if n > 1]


def test_there_are_many_categories_in_several_groups():
    assert len(TABLE) >= 350
    assert [c.index for c in TABLE] == list(range(len(TABLE)))
    assert len({c.group for c in TABLE}) >= 5
    assert StickerWorld(32).categories == list(TABLE)


def test_names_and_characters_are_unique():
    assert twice(c.name for c in TABLE) == []
    assert len({c.char for c in TABLE}) == len(TABLE)
    assert twice(c.one for c in TABLE) == twice(c.many for c in TABLE) == []
    for c in TABLE:
        assert find_category(c.name) is find_category(c.char) is c


def test_every_character_is_an_emoji_of_one_code_point():
    for c in TABLE:
        assert len(c.char) == 1, c.name
        known = c.char in emoji.EMOJI_DATA
        assert known or c.char + "\ufe0f" in emoji.EMOJI_DATA, c.name


def test_the_font_draws_every_character_and_each_differently():
    pictures = set()
    for c in TABLE:
        art = np.asarray(sticker(c.char, 48))
        ink = art[..., 3] > 127
        assert ink.mean() > 0.04, c.name
        pictures.add(art.tobytes())
    assert len(pictures) == len(TABLE)


def test_synonyms_are_two_to_four_and_belong_to_one_category():
    for c in TABLE:
        assert 2 <= len(c.synonyms) <= 4, c.name
    names = [c.name for c in TABLE]
    assert twice([*names, *(s for c in TABLE for s in c.synonyms)]) == []


def test_there_are_enough_lines_and_none_twice():
    for c in TABLE:
        assert len(c.descriptions) >= 3, c.name
        assert len(c.memes) + len(c.held_out_memes) >= 6, c.name
        assert len(c.held_out_memes) == HELD_OUT_MEMES == 2, c.name
    lines = [
        line for c in TABLE for line in (*c.descriptions, *c.memes, *c.held_out_memes)
    ]
    assert twice(lines) == []


def owners_of_runs(lines, n):
    """Runs of ``n`` words → the categories in whose lines they occur."""
    found = defaultdict(set)
    for name, line in lines:
        line = plain(line.replace("'", "")).split()
        for k in range(len(line) - n + 1):
            found[tuple(line[k : k + n])].add(name)
    return found


def lines_of(*fields):
    return [(c.name, line) for c in TABLE for f in fields for line in getattr(c, f)]


def test_no_sentence_pattern_comes_back_from_category_to_category():
    """A row that fills in a pattern repeats its words with another noun."""
    memes = lines_of("memes", "held_out_memes")
    looks = lines_of("descriptions")
    # one stretch of words may be shared by chance or as a common saying
    for lines, n, most in ((memes, 7, 1), (memes, 5, 5), (looks, 7, 3)):
        runs = owners_of_runs(lines, n)
        often = [" ".join(r) for r, own in runs.items() if len(own) > most]
        assert not often, often


def test_the_pattern_check_finds_a_pattern():
    filled = [
        (c.name, f"when the {c.name} says it is Monday again") for c in TABLE[:20]
    ]
    runs = owners_of_runs(filled, 5)
    assert len(runs["says", "it", "is", "monday", "again"]) > 15


def test_lines_differ_by_more_than_the_name_in_them():
    """With a row's own words blotted out, no two rows read the same."""
    blotted = defaultdict(set)
    for c in TABLE:
        names = plain(" ".join((c.name, c.one, c.many, *c.synonyms))).split()
        stems = {w[:4] for w in names}
        for line in (*c.memes, *c.held_out_memes):
            left = ["_" if w[:4] in stems else w for w in plain(line).split()]
            blotted[" ".join(left)].add(c.name)
    assert not [names for names in blotted.values() if len(names) > 1]


def test_openings_and_lengths_of_meme_lines_vary():
    lines = [line for _, line in lines_of("memes", "held_out_memes")]
    first = Counter(tuple(plain(line).split()[:3]) for line in lines)
    assert first.most_common(1)[0][1] < 0.003 * len(lines)
    lengths = [len(plain(line).split()) for line in lines]
    assert min(lengths) >= 4 and max(lengths) <= 24
    for c in TABLE:
        openings = {tuple(plain(m).split()[:2]) for m in c.memes}
        assert len(openings) > len(c.memes) / 2, c.name


def test_texts_are_clean():
    for c in TABLE:
        own = (
            c.name,
            c.one,
            c.many,
            *c.synonyms,
            *c.descriptions,
            *c.memes,
            *c.held_out_memes,
        )
        for text in own:
            assert text == " ".join(text.split()) and plain(text), text
            assert len(text) <= 120, text
        # the tokenizer's letters: no emoji, no curly quotes
        assert all(text.isascii() for text in own), c.name


# plural → the singular that it shows, where no rule of spelling tells
IRREGULAR = {
    "geese": "goose",
    "mice": "mouse",
    "flies": "fly",
    "teeth": "tooth",
    "dice": "die",
}


def test_one_and_many_say_the_name():
    for c in TABLE:
        article, _, noun = c.one.partition(" ")
        assert article in ("a", "an", "the") and noun, c.name
        assert c.one != c.many and not c.many.startswith(("a ", "an "))
        stems = {word[:3] for word in plain(c.name).split()}
        for text in (noun, c.many):
            said = {IRREGULAR.get(w, w)[:3] for w in plain(text).split()}
            assert stems & said, c.name


def test_memes_do_not_give_the_name_away():
    """A line that names its sticker could be matched by spelling alone."""
    named = [
        line
        for c in TABLE
        for line in (*c.memes, *c.held_out_memes)
        if f" {plain(c.name)} " in f" {plain(line)} "
    ]
    every = sum(len(c.memes) + HELD_OUT_MEMES for c in TABLE)
    assert len(named) < 0.25 * every


def test_the_dense_tasks_have_their_categories():
    dense = [c for c in TABLE if c.dense]
    novel = [c for c in TABLE if not c.base]
    assert len(dense) == 65 and len(novel) == 20
    assert len(set(DENSE_BASE)) == len(DENSE_BASE) == 45
    assert not set(DENSE_BASE) & set(NOVEL_TO_RELATIVE)
    assert {c.name for c in dense} == {*DENSE_BASE, *NOVEL_TO_RELATIVE}
    for c in novel:
        assert c.dense
        relative = find_category(c.relative)
        assert relative.base and relative.dense
        assert relative.name in DENSE_BASE
    assert len({c.relative for c in novel}) == 20
    # near: in one group of the table, a fish and a mammal of the sea aside
    assert [c.name for c in novel if find_category(c.relative).group != c.group] == [
        "shark"
    ]
    assert all(c.relative is None for c in TABLE if c.base)


def stays_unseen(texts):
    """No held-out line is among the texts, nor inside one."""
    everything = "\n".join(map(plain, texts))
    return [line for line in HELD_OUT if plain(line) in everything]


def test_the_check_itself_finds_a_leak():
    assert stays_unseen(["a cat", HELD_OUT[5].upper() + "!"]) == [HELD_OUT[5]]


def test_no_held_out_line_is_in_a_training_text():
    assert stays_unseen(training_texts()) == []
    assert stays_unseen(table_texts()[0]) == []


def test_every_other_text_is_in_the_training_texts():
    seen = set(training_texts())
    texts, labels = table_texts()
    assert set(texts) <= seen and len(texts) == len(labels)
    for c in TABLE:
        own = {c.name, c.one, *c.synonyms, *c.descriptions, *c.memes}
        assert own == {t for t, k in zip(texts, labels, strict=True) if k == c.index}


def test_no_held_out_line_is_in_the_free_texts():
    words = build_vocabulary([], 0)
    texts = free_texts(words, 20_000, seed=0)
    assert len(texts) >= 20_000
    assert texts == free_texts(words, 20_000, seed=0)
    assert stays_unseen(texts) == []


def test_no_held_out_line_is_in_a_caption():
    world, always = StickerWorld(32), CaptionMix(meme=1)
    texts = []
    for seed in range(4000):
        mix = always if seed % 2 else CaptionMix()
        layout = world.scene(seed, n=1 if seed % 2 else None).layout
        texts.append(random_caption(random.Random(seed), layout, mix).text)
    lines = {line for c in TABLE for line in c.memes}
    assert len(lines & set(texts)) > 1000
    assert stays_unseen(texts) == []


def test_no_held_out_line_is_in_a_batch():
    data = PretrainData(PretrainConfig(batch_size=32, meme_share=0.9))
    texts = []
    for step in range(6):
        batch = data.batch(step, 32, 0.8)
        texts += [*batch.captions, *batch.phrases]
    assert len(texts) > 300 and stays_unseen(texts) == []


@pytest.mark.parametrize("c", TABLE[::40], ids=lambda c: c.name)
def test_no_held_out_line_is_in_a_phrase(c):
    rng = random.Random(0)
    texts = {random_phrase(rng, c) for _ in range(400)}
    assert set(c.memes) <= texts and c.name in texts
    assert stays_unseen(texts) == []


def test_words_of_held_out_lines_alone_are_no_words_of_the_vocabulary():
    known = set(build_vocabulary([], 0))
    trained = set(plain(" ".join(training_texts())).split())
    fresh = set(plain(" ".join(HELD_OUT)).split()) - trained
    fresh = {word for word in fresh if len(word) > 1}
    assert len(fresh) > 20 and not fresh & known
