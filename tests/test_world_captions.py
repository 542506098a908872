"""Captions: true of their scene, with spans that name their objects."""

import itertools
import random
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmtutor.world import (
    CaptionMix,
    Layout,
    Placement,
    Scene,
    StickerWorld,
    complete_caption,
    find_category,
    load_categories,
    random_caption,
)
from vlmtutor.world.backgrounds import COLORS, PHRASES
from vlmtutor.world.captions import (
    NUMBERS,
    OPENINGS,
    bare_caption,
    noun_phrase,
    with_article,
)

quick = settings(max_examples=300, deadline=None)
SEEDS = st.integers(0, 3 * 10**9 - 1)
LENGTHS = st.sampled_from([None, 1, 2, 3, 4])
WORLD = StickerWorld(96)
TABLE = load_categories()
RELATIONS = ("to the left of", "to the right of", "above", "below")
DISC = re.compile(r" on (an?) (\w+) (disc|circle)$")


def words(text):
    return set(re.findall(r"[\w'’-]+", text.lower()))


def check_spans(caption, layout):
    """Every span names its sticker; only counted stickers share one."""
    counts = Counter(p.category for p in layout.placements)
    for k, p in enumerate(layout.placements):
        start, end = caption.spans[k]
        assert 0 <= start < end <= len(caption.text)
        phrase = caption.text[start:end]
        assert phrase == caption.phrase(k)
        c = TABLE[p.category]
        if counts[p.category] > 1:
            assert phrase == f"{NUMBERS[counts[p.category]]} {c.many}"
    for a, b in itertools.combinations(range(len(layout.placements)), 2):
        (s, e), (t, f) = caption.spans[a], caption.spans[b]
        first, second = layout.placements[a], layout.placements[b]
        if first.category == second.category:
            assert (s, e) == (t, f)
        else:
            assert e <= t or f <= s


@quick
@given(SEEDS, LENGTHS, st.sampled_from([complete_caption, bare_caption]))
def test_spans_name_their_objects(seed, n, describe):
    layout = WORLD.scene(seed, n).layout
    caption = describe(layout)
    check_spans(caption, layout)
    for k, p in enumerate(layout.placements):
        c = TABLE[p.category]
        named = words(c.one) | words(c.many) | words(c.name)
        named -= {"a", "an", "the"}
        assert named & words(caption.phrase(k))


@quick
@given(SEEDS, LENGTHS)
def test_a_scene_hands_its_spans_to_its_objects(seed, n):
    scene = WORLD.scene(seed, n)
    caption = complete_caption(scene.layout)
    assert scene.caption == caption.text
    assert [o.span for o in scene.objects] == list(caption.spans)


@quick
@given(SEEDS, LENGTHS)
def test_a_complete_caption_says_everything(seed, n):
    layout = WORLD.scene(seed, n).layout
    caption = complete_caption(layout)
    assert caption.text.endswith(" " + PHRASES[layout.background])
    counts = Counter(p.category for p in layout.placements)
    for k, p in enumerate(layout.placements):
        if counts[p.category] > 1:
            continue
        phrase = caption.phrase(k)
        found = DISC.search(phrase)
        assert (found[2] if found else None) == p.color
        if found:
            assert found[1] == ("an" if p.color == "orange" else "a")
            assert found[3] == "disc"
        noun = DISC.sub("", phrase)
        assert noun == noun_phrase(TABLE[p.category], p.size_word)
        name = TABLE[p.category].name
        if not words(name) & {"small", "big"}:
            assert words(noun) & {"small", "big"} == {p.size_word} - {None}


def middle(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def holds(how, a, b):
    """Whether box ``a`` stands so to box ``b`` in the picture."""
    (ax, ay), (bx, by) = middle(a), middle(b)
    return {
        "to the left of": ax < bx,
        "to the right of": ax > bx,
        "above": ay < by,
        "below": ay > by,
    }[how]


@quick
@given(SEEDS, st.booleans())
def test_relations_are_true_of_the_boxes(seed, swapped):
    layout = WORLD.scene(seed, 2, repeats=0).layout
    if swapped:
        layout = layout.swap_stickers()
    scene = Scene(layout, 96, "sticker", seed)
    a, b = scene.objects
    between = scene.caption[a.span[1] : b.span[0]].strip()
    assert between in RELATIONS
    assert holds(between, a.box, b.box)


def true_words(category, placement):
    """All that a caption may call one sticker, its disc apart."""
    allowed = {category.one, *category.descriptions}
    allowed.add(noun_phrase(category, placement.size_word))
    for name in category.synonyms:
        allowed |= {name, f"a {name}", f"an {name}"}
    return allowed


def check_phrase(phrase, layout, owners):
    p = layout.placements[owners[0]]
    c = TABLE[p.category]
    if len(owners) > 1:
        assert phrase == f"{NUMBERS[len(owners)]} {c.many}"
        return
    if phrase in true_words(c, p):
        return
    found = DISC.search(phrase)
    assert found and found[2] == p.color
    assert phrase[: found.start()] in true_words(c, p)


BACK = "|".join(map(re.escape, PHRASES.values()))
FRONT = "|".join(map(re.escape, sorted(OPENINGS, key=len, reverse=True)))
SPOT = r"@\d(?: in the [a-z ]+?)?"
SHAPE = re.compile(
    rf"(?:{FRONT})"
    rf"(?:@\d (?:{'|'.join(RELATIONS)}) @\d"
    rf"|{SPOT}(?:, {SPOT})*(?: and {SPOT})?)"
    rf"(?: (?P<place>{BACK}))?"
)


@quick
@given(SEEDS, LENGTHS, st.integers(0, 10**6))
def test_a_random_caption_is_true(seed, n, draw):
    scene = WORLD.scene(seed, n)
    layout = scene.layout
    caption = random_caption(random.Random(draw), layout)
    kinds = {}
    for k, p in enumerate(layout.placements):
        kinds.setdefault(p.category, []).append(k)
    assert len(caption.spans) == len(layout.placements)
    if None in caption.spans:  # a meme line, of the only kind there is
        assert caption.spans == (None,) * len(layout.placements)
        (category,) = kinds
        assert caption.text in TABLE[category].memes
        assert caption.phrase(0) is None
        return
    (first, *_) = kinds
    if caption.text in {TABLE[first].name, *TABLE[first].synonyms}:
        assert len(kinds) == 1
        assert set(caption.spans) == {(0, len(caption.text))}
        return
    # put @k for each phrase: what is left must be the grammar, and true
    check_spans(caption, layout)
    left = caption.text
    owner = {owners[0]: owners for owners in kinds.values()}
    for k in sorted(owner, key=lambda k: -caption.spans[k][0]):
        check_phrase(caption.phrase(k), layout, owner[k])
        start, end = caption.spans[k]
        left = f"{left[:start]}@{k}{left[end:]}"
    assert left.count("@") == len(kinds)
    shape = SHAPE.fullmatch(left)
    assert shape, left
    assert shape["place"] in (None, PHRASES[layout.background])
    for a, how, b in re.findall(rf"@(\d) ({'|'.join(RELATIONS)}) @(\d)", left):
        boxes = [scene.objects[int(k)].box for k in (a, b)]
        assert holds(how, *boxes)
    for k, where in re.findall(rf"@(\d) in the ({'|'.join(PLACES)})\b", left):
        p = layout.placements[int(k)]
        assert where == place(p.x, p.y)


PLACES = [
    "top left",
    "top right",
    "bottom left",
    "bottom right",
    "top",
    "bottom",
    "left",
    "right",
    "middle",
]


def place(x, y):
    """The word for a point, by a picture cut at 38 and 62 hundredths."""
    column = 0 if x < 0.38 else 2 if x > 0.62 else 1
    row = 0 if y < 0.38 else 2 if y > 0.62 else 1
    return [
        ["top left", "top", "top right"],
        ["left", "middle", "right"],
        ["bottom left", "bottom", "bottom right"],
    ][row][column]


def test_random_captions_use_all_their_means():
    texts = [
        random_caption(random.Random(-seed), WORLD.scene(9**7 + seed).layout).text
        for seed in range(1500)
    ]
    seen = "\n".join(texts)
    for sign in (*RELATIONS, " disc", " circle", "in the middle", "two "):
        assert sign in seen
    assert all(phrase in seen for phrase in PHRASES.values())
    assert all(f" {color} " in seen for color in COLORS)
    memes = {line for c in TABLE for line in c.memes}
    share = sum(text in memes for text in texts) / len(texts)
    assert 0.02 < share < 0.15
    assert len(set(texts)) > 1400


def test_a_mix_chooses_the_words():
    layout = Layout("sky", 0, (Placement(0, 0.5, 0.5, 0.5, False, "red"),))
    rng = random.Random(0)
    memes = CaptionMix(meme=1)
    for _ in range(20):
        text = random_caption(rng, layout, memes).text
        assert text in TABLE[0].memes
    plain = CaptionMix(0, 0, 0, disc=0, size=0, place=0)
    spoken = {random_caption(rng, layout, plain).text for _ in range(60)}
    names = {TABLE[0].name, *TABLE[0].synonyms}
    one = {opening + TABLE[0].one for opening in OPENINGS}
    assert spoken <= names | one | {f"{text} in the middle" for text in one}


@quick
@given(SEEDS, LENGTHS, st.integers(0, 10**6))
def test_the_same_draw_gives_the_same_caption(seed, n, draw):
    layout = WORLD.scene(seed, n).layout
    once = random_caption(random.Random(draw), layout)
    assert once == random_caption(random.Random(draw), layout)


def scene_of(*spots, background="grass"):
    placements = [
        Placement(find_category(name).index, x, 0.5, size, False, color)
        for name, x, size, color in spots
    ]
    return Layout(background, 0, tuple(placements))


@pytest.mark.parametrize(
    ("spots", "text"),
    [
        ([("cat", 0.5, 0.4, None)], "a cat on the grass"),
        ([("cat", 0.5, 0.8, "red")], "a big cat on a red disc, on the grass"),
        (
            [("apple", 0.2, 0.4, "orange"), ("cat", 0.8, 0.25, None)],
            "an apple on an orange disc to the left of a small cat, on the grass",
        ),
        (
            [("cat", 0.2, 0.3, None), ("cat", 0.8, 0.3, "blue")],
            "two cats, on the grass",
        ),
        (
            [
                ("cat", 0.1, 0.4, None),
                ("pizza", 0.3, 0.4, None),
                ("cat", 0.7, 0.4, None),
                ("rocket", 0.9, 0.4, "pink"),
            ],
            "two cats, a slice of pizza and a rocket on a pink disc, on the grass",
        ),
    ],
)
def test_captions_by_example(spots, text):
    assert complete_caption(scene_of(*spots)).text == text


def test_articles_and_adjectives():
    assert with_article("apple") == "an apple"
    assert with_article("walrus") == "a walrus"
    assert with_article("swords") == "swords"
    assert noun_phrase(find_category("apple"), "big") == "a big apple"
    assert noun_phrase(find_category("cat"), "orange") == "an orange cat"
    assert noun_phrase(find_category("sun"), "small") == "the small sun"
