import itertools

import numpy as np
import pytest
import torch
from fake_clip import ColourClip, TinyClip, plain
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from vlmtutor.memes import (
    EmbeddingCache,
    UnreadablePicture,
    assign_captions,
    match,
    match_embeddings,
    render,
)
from vlmtutor.memes.layout import drawn_text

CAPTIONS = ["a red thing", "a blue thing", "green green", "nothing at all"]


def tables(most=6):
    """Score tables with values a hundredth apart, so ties are exact."""
    shapes = st.tuples(st.integers(1, most), st.integers(1, most))
    values = st.integers(-100, 100).map(lambda v: v / 100)
    return shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=values))


def matched(images, captions=CAPTIONS, clip=None, **options):
    cache = options.pop("cache", EmbeddingCache())
    return match(images, captions, clip or ColourClip(), cache=cache, **options)


def test_best_caption_for_each_picture():
    images = [plain(c) for c in ("green", "red", "red", "blue")]
    matches = matched(images)
    assert matches.chosen == (2, 0, 0, 1)
    assert matches.choice(1).caption == "a red thing"
    assert matches.choice(1).score == matches.scores[1, 0].item()


def test_one_to_one_uses_no_caption_twice():
    images = [plain("red"), plain("red", (30, 30)), plain("blue")]
    matches = matched(images, assign="one_to_one")
    assert len(set(matches.chosen)) == 3
    assert 0 in matches.chosen[:2] and matches.chosen[2] == 1


def test_more_pictures_than_captions_leaves_the_rest_without():
    images = [plain(c) for c in ("white", "red", "black", "blue")]
    matches = matched(images, CAPTIONS[:2], assign="one_to_one")
    assert matches.chosen == (None, 0, None, 1)
    assert matches.choice(0) is None
    assert len(matches.alternatives(3)[0]) == 2


def test_probabilities_are_the_softmax_at_the_models_temperature():
    matches = matched([plain("red"), plain("blue")], correction=None)
    expected = torch.softmax(20 * matches.scores, dim=-1)
    torch.testing.assert_close(matches.probabilities, expected)
    flat = matched([plain("red")], temperature=100, correction=None).probabilities
    torch.testing.assert_close(flat, torch.full((1, 4), 0.25), atol=3e-3, rtol=0)
    for bad in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="temperature"):
            matched([plain("red")], temperature=bad)


def test_alternatives_are_the_next_best():
    matches = matched([plain("red"), plain("blue")], correction=None)
    for i, others in enumerate(matches.alternatives(2)):
        assert len(others) == 2
        assert matches.chosen[i] not in [o.index for o in others]
        scores = [o.score for o in others]
        assert scores == sorted(scores, reverse=True)
        assert max(scores) <= matches.choice(i).score
    assert matches.alternatives(0) == [[], []]
    assert len(matches.alternatives(99)[0]) == 3


def test_paths_and_pictures_give_the_same(tmp_path):
    images = [plain("red"), plain("green")]
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    by_path, by_image = matched(paths), matched(images)
    assert torch.equal(by_path.scores, by_image.scores)
    assert torch.equal(matched(list(map(str, paths))).scores, by_path.scores)


def test_the_real_model_says_the_same():
    clip = TinyClip()
    rng = np.random.default_rng(0)
    images = [
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)) for _ in range(7)
    ]
    matches = matched(images, clip=clip, batch_size=3)
    expected = clip.encode_images(images) @ clip.encode_texts(CAPTIONS).T
    torch.testing.assert_close(matches.scores, expected, atol=1e-5, rtol=0)
    with torch.no_grad():
        ids = torch.tensor([[128, 97, 129]])
        out = clip.model(ids, clip.preprocess(images))
    logits = matched(images, ["a"], clip).scores * clip.logit_scale
    assert out.logits_per_image.shape == logits.shape


def test_what_cannot_be_matched_is_said(tmp_path):
    with pytest.raises(ValueError, match="no captions"):
        matched([plain("red")], [])
    with pytest.raises(TypeError, match="list of captions"):
        matched([plain("red")], "one text")
    with pytest.raises(TypeError, match="caption 1 is a float, not a text"):
        matched([plain("red")], ["a", float("nan")])
    with pytest.raises(ValueError, match="unknown assignment 'any'"):
        matched([plain("red")], assign="any")
    with pytest.raises(ValueError, match="unknown correction 'all'"):
        matched([plain("red")], correction="all")
    (tmp_path / "no.png").write_bytes(b"no")
    with pytest.raises(UnreadablePicture, match=r"picture 1 .*no\.png"):
        matched([plain("red"), tmp_path / "no.png"])


def test_no_pictures_no_matches():
    for assign in ("best", "one_to_one"):
        matches = matched([], assign=assign)
        assert matches.chosen == () and matches.scores.shape == (0, 4)
        assert matches.alternatives() == []


def total(scores, chosen):
    return sum(scores[i][j] for i, j in enumerate(chosen) if j is not None)


def greedy(scores):
    """The best pair first, then the best of what is left."""
    pairs = sorted(
        itertools.product(*map(range, scores.shape)), key=lambda ij: -scores[ij]
    )
    rows, columns, value = set(), set(), 0.0
    for i, j in pairs:
        if i not in rows and j not in columns:
            rows.add(i)
            columns.add(j)
            value += scores[i, j]
    return value


@settings(deadline=None)
@given(tables(5))
def test_one_to_one_is_the_best_of_all_assignments(scores):
    chosen = assign_captions(torch.tensor(scores), "one_to_one")
    used = [j for j in chosen if j is not None]
    n, m = scores.shape
    assert len(used) == len(set(used)) == min(n, m)
    if n <= m:
        everything = [
            sum(scores[i, j] for i, j in enumerate(columns))
            for columns in itertools.permutations(range(m), n)
        ]
    else:
        everything = [
            sum(scores[i, j] for j, i in enumerate(rows))
            for rows in itertools.permutations(range(n), m)
        ]
    assert total(scores, chosen) == pytest.approx(max(everything))
    assert total(scores, chosen) >= greedy(scores) - 1e-9


@settings(deadline=None)
@given(tables())
def test_best_takes_the_first_of_equals(scores):
    noise = 1e-8 * np.random.default_rng(0).standard_normal(scores.shape)
    for table in (scores, scores + noise):
        chosen = assign_captions(torch.tensor(table), "best")
        assert list(chosen) == [list(r).index(max(r)) for r in scores]


@given(st.permutations(range(5)), st.integers(0, 99))
def test_order_of_pictures_does_not_matter(order, seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(5, 7, generator=generator)
    for assign in ("best", "one_to_one"):
        chosen = assign_captions(scores, assign)
        shuffled = assign_captions(scores[list(order)], assign)
        assert shuffled == tuple(chosen[i] for i in order)


def test_from_embeddings():
    eye = torch.eye(3)
    matches = match_embeddings(eye, eye[[2, 0, 1]], ["c", "a", "b"])
    assert [matches.choice(i).caption for i in range(3)] == ["a", "b", "c"]


def test_what_is_no_picture_is_told_by_its_kind(tmp_path):
    plain("red").save(tmp_path / "a.png")
    for single in (plain("red"), tmp_path / "a.png", str(tmp_path / "a.png")):
        with pytest.raises(TypeError, match="a list of pictures, not a single one"):
            matched(single)
    for thing in (None, 3, b"a.png", np.zeros((9, 9, 3), np.uint8)):
        kind = type(thing).__name__
        with pytest.raises(TypeError, match=f"an? .*path, not a {kind}"):
            matched([plain("red"), thing])
    for name in ("a\0b", "x" * 5000, str(tmp_path), "~nobody-has-this-name/a.png"):
        with pytest.raises(UnreadablePicture, match="picture 1 "):
            matched([tmp_path / "a.png", name])


def test_of_an_endless_caption_the_beginning_is_drawn():
    text = drawn_text("word " * 2_000_000)
    assert 4_000 < len(text) <= 20_000
    assert render(plain("red"), "x" * 2_000_000).size == (80, 60)
