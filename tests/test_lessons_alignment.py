"""The lessons on alignment: matching, re-ranking and pointing, by hand."""

import pytest
import torch

from vlmtutor.lessons import grounding, matching
from vlmtutor.lessons.contrastive import centers_in
from vlmtutor.objectives.alignment import pool_regions
from vlmtutor.training import evaluating


@pytest.fixture(scope="module")
def data():
    return matching.make_data(80, n_test=24)


@pytest.fixture(scope="module")
def model(data):
    return matching.new_model(data)


def test_what_a_scene_holds(data):
    for scene, row in zip(data.train.scenes, data.has, strict=True):
        held = {matching.NAMES[i] for i in row.nonzero()[:, 0]}
        assert held == {thing.name for thing in scene.objects}
    assert data.has.sum(1).unique().tolist() == [1, 2]
    assert matching.holds(data.test).sum(1).unique().tolist() == [2]
    train, test = ({s.seed for s in p.scenes} for p in (data.train, data.test))
    assert not train & test


def test_a_warm_up_begins_with_one_sticker_a_scene(data):
    alone = matching.singles(data)
    assert alone.has.sum(1).unique().tolist() == [1]
    assert len(alone.train) == len(alone.has) == 40
    assert alone.test is data.test
    model = matching.new_model(data)
    before = model.image_head.weight.clone()
    history = matching.warm_up(model, data, 2)
    assert history.steps == 4
    assert not torch.equal(before, model.image_head.weight)


def test_one_word_is_wrong_and_only_one(data):
    texts = matching.one_word_wrong(data.test)
    for caption, text, scene in zip(
        data.test.captions, texts, data.test.scenes, strict=True
    ):
        true, false = caption.split(" and "), text.split(" and ")
        kept = [a == b for a, b in zip(true, false, strict=True)]
        assert sorted(kept) == [False, True]
        present = {t.category.one for t in scene.objects}
        assert false[kept.index(False)] not in present
    assert texts == matching.one_word_wrong(data.test)
    assert texts != matching.one_word_wrong(data.test, seed=1)


@pytest.mark.parametrize("hard", [None, False, True])
def test_matching_reaches_the_fusion_only_when_asked(data, hard):
    model = matching.new_model(data)
    batch = data.train.batch(range(12))
    terms = matching.loss_terms(model, batch, data.has, hard)
    sum(terms.values()).backward()
    touched = model.fusion.blocks[0].cross.query.weight.grad is not None
    assert touched == (hard is not None) == ("match" in terms)
    assert model.image_head.weight.grad is not None


def test_the_same_stickers_are_no_negative(data):
    """All scenes alike: nothing to tell apart, nothing to match wrongly."""
    model = matching.new_model(data)
    batch = data.train.batch(range(6))
    alike = torch.ones_like(data.has)
    terms = matching.loss_terms(model, batch, alike, True)
    assert terms["contrast"] == 0  # no row has a wrong answer left
    with torch.no_grad():
        answers = model.match_logits(
            model.image_tokens(batch.pixel_values),
            model.text_tokens(batch.input_ids),
            batch.input_ids,
        )
    only_yes = -torch.nn.functional.logsigmoid(answers).mean()
    assert torch.allclose(terms["match"], only_yes, atol=1e-5)


class Oracle:
    """A fusion that knows: picture i fits text j as a table says."""

    def __init__(self, table):
        self.table, self.asked = table, 0

    def match_logits(self, images, texts, input_ids):
        self.asked += len(images)
        return self.table[images[:, 0, 0].long(), texts[:, 0, 0].long()]


def seen_of(cosines):
    N, M = cosines.shape
    ids = torch.arange(M)[:, None]
    return matching.Encoded(
        torch.arange(N).float().view(N, 1, 1),
        torch.arange(M).float().view(M, 1, 1),
        ids,
        cosines,
    )


def test_reranking_asks_the_fusion_about_the_best_alone():
    generator = torch.Generator().manual_seed(0)
    cosines = torch.rand(30, 40, generator=generator) * 2 - 1
    table = torch.randn(30, 40, generator=generator) * 9
    oracle = Oracle(table)
    scores = matching.rerank(oracle, seen_of(cosines), top=5)
    assert scores.shape == (40, 30) and oracle.asked == 40 * 5
    for text in range(40):
        best = cosines[:, text].topk(5).indices.tolist()
        order = scores[text].argsort(descending=True).tolist()
        by_fusion = sorted(best, key=lambda i: -table[i, text])
        assert order[:5] == by_fusion
        rest = [
            i
            for i in cosines[:, text].argsort(descending=True).tolist()
            if i not in best
        ]
        assert order[5:] == rest


def test_match_scores_are_the_models_own(data, model):
    test = data.test
    rows = torch.tensor([[0, 3], [2, 1], [5, 5]])
    with evaluating(model):
        seen = matching.encode(model, test.pixel_values, test.input_ids[:3])
        scores = matching.match_scores(model, seen, rows)
        for text in range(3):
            for k, image in enumerate(rows[text]):
                ids = test.input_ids[text : text + 1]
                one = model.match_logits(
                    seen.images[image][None], seen.texts[text : text + 1], ids
                )
                assert torch.allclose(scores[text, k], one[0], atol=1e-4)


def test_noun_tokens_are_the_nouns(data):
    test = data.test
    places = grounding.noun_tokens(test)
    for i, scene in enumerate(test.scenes):
        for k, thing in enumerate(scene.objects):
            token = test.input_ids[i, places[i, k]].item()
            word = test.tokenizer.convert_ids_to_tokens(token)
            assert word == thing.category.one.split()[-1]


def perfect_heat(pairs, side=4):
    heat = centers_in(pairs.boxes, side).float()
    return heat + 1e-3 * torch.rand(
        heat.shape, generator=torch.Generator().manual_seed(0)
    )


def test_scores_of_maps_that_are_right_wrong_and_blind(data):
    heat = perfect_heat(data.test, 12)
    good = grounding.score_grounding(heat, data.test)
    bad = grounding.score_grounding(heat.flip(1), data.test)
    assert good["hits"] == 1 and good["which"] > 0.9
    assert bad["hits"] < 0.1 and bad["which"] < 0.1
    blind = grounding.score_grounding(torch.zeros_like(heat), data.test)
    assert blind["which"] == 0  # a tie is no answer


def test_box_means_are_those_of_pooled_regions():
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(2, 16, 5, generator=generator)
    boxes = torch.tensor([[[0, 0, 0.5, 0.6], [0.1, 0.3, 0.9, 1]]]).repeat(2, 1, 1)
    means = grounding.box_means(patches.transpose(1, 2), boxes).transpose(1, 2)
    pooled = pool_regions(patches, boxes)
    assert torch.allclose(
        torch.nn.functional.normalize(means, dim=-1), pooled, atol=1e-5
    )


def test_maps_have_a_row_for_each_sticker(data, model):
    for make in (grounding.word_heat, grounding.name_heat, grounding.attention_heat):
        with evaluating(model):
            heat = make(model, data.test)
        assert heat.shape == (24, 2, 16) and heat.isfinite().all()
        assert not torch.allclose(heat[:, 0], heat[:, 1], atol=1e-6)
    assert (heat >= 0).all() and (heat.sum(-1) <= 1).all()  # attention


@pytest.mark.parametrize("boxes", [True, False])
def test_grounding_learns(data, boxes):
    model = matching.new_model(data)
    history = grounding.train_grounding(model, data, 6, boxes)
    assert history.loss[-1] < history.loss[0]
