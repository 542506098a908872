"""Identities of prompts in the text encoder: CoOp to TPT."""

from __future__ import annotations

import math

import pytest
import torch
from transfer_tiny import (
    CLASSES,
    NOVEL,
    W_TEXT,
    clip,
    close,
    colors,
    hand_logits,
    tiny_clip,
    unit,
    zero_shot_logits,
)

from vlmtutor.naming import TEMPLATES, text_classifier, zero_shot
from vlmtutor.transfer import cocoop, coop, kgcoop, prograd, tpt
from vlmtutor.transfer.base import fit_hand_prompt, fit_zero_shot
from vlmtutor.transfer.packed_prompts import encode_packed, pack
from vlmtutor.transfer.pictures import Pictures
from vlmtutor.transfer.prompts import (
    encode_prompts,
    nearest_words,
    prompt_tokens,
    start_context,
)

IMAGES, LABELS = colors(3)


def untuned(fit, **settings):
    """Fit with no step taken."""
    return fit(clip(), IMAGES, LABELS, CLASSES, steps=0, **settings)


def test_zero_shot_is_the_ensemble_and_a_hand_prompt_one_sentence():
    predictor = fit_zero_shot(clip(), IMAGES, LABELS, CLASSES)
    close(predictor.probabilities(IMAGES), zero_shot(clip(), IMAGES, CLASSES))
    hand = fit_hand_prompt(clip(), IMAGES, LABELS, CLASSES)
    close(hand(IMAGES), hand_logits(clip(), IMAGES), atol=1e-4)


def test_words_as_vectors_are_the_sentence():
    model = clip()
    words = "a photo of the"
    start = start_context(model, words)
    tokens = prompt_tokens(model, CLASSES, len(start))
    sentences = model.encode_texts([f"{words} {name}" for name in CLASSES])
    close(encode_prompts(model, tokens, start), sentences)


def test_deep_prompts_that_repeat_the_layers_change_nothing():
    # What the context has become, put in its own place, is no change.
    model = clip()
    start = start_context(model)
    tokens = prompt_tokens(model, CLASSES[:1], len(start))
    seen = []
    second = model.model.text_model.encoder.layers[1]
    handle = second.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    plain = encode_prompts(model, tokens, start)
    handle.remove()
    becoming = seen[0][0, 1 : 1 + len(start)]
    close(encode_prompts(model, tokens, start, [becoming]), plain)
    other = encode_prompts(model, tokens, start, [becoming.flip(1)])
    assert not torch.allclose(other, plain, atol=1e-3)


def test_prompts_must_fit():
    with pytest.raises(ValueError, match="exceed the 14"):
        prompt_tokens(clip(), CLASSES, 12)
    tokens = prompt_tokens(clip(), CLASSES, 4)
    with pytest.raises(ValueError, match="3 context vectors for 4"):
        encode_prompts(clip(), tokens, torch.zeros(3, W_TEXT))
    deep = [torch.zeros(4, W_TEXT)] * 3
    with pytest.raises(ValueError, match="only 2 layers"):
        encode_prompts(clip(), tokens, start_context(clip()), deep)


def test_nearest_words_of_words_are_themselves():
    near = nearest_words(clip(), start_context(clip(), "a sticker of"), k=2)
    assert [words[0][0] for words in near] == ["a", "sticker", "of"]
    assert all(words[0][1] < 1e-2 < words[1][1] for words in near)


def test_coop_starts_at_the_hand_prompt():
    predictor = untuned(coop.fit)
    close(predictor(IMAGES), hand_logits(clip(), IMAGES), atol=1e-4)
    novel = predictor.with_classes(NOVEL)
    expected = hand_logits(clip(), IMAGES, NOVEL)
    close(novel(IMAGES), expected, atol=1e-4)
    # One context for all classes, and the same one for each, are the same.
    each = untuned(coop.fit, per_class=True)
    close(each(IMAGES), predictor(IMAGES), atol=1e-4)
    assert each.parameters_trained == 3 * predictor.parameters_trained


def test_coop_tunes_the_context_and_nothing_else():
    model = tiny_clip()
    predictor = coop.CoOp(model, CLASSES)
    predictor.logits(Pictures(model, IMAGES)).sum().backward()
    assert predictor.context.grad.abs().sum(1).gt(0).all()
    assert predictor.parameters_trained == 4 * W_TEXT


def test_coop_does_not_mind_padding():
    # The end of a prompt is found by its token, not by its place.
    together = prompt_tokens(clip(), ["cat", "red dog"], 4)
    alone = prompt_tokens(clip(), ["cat"], 4)
    start = start_context(clip())
    both = encode_prompts(clip(), together, start)
    close(both[:1], encode_prompts(clip(), alone, start))


@pytest.mark.parametrize("names", [["cat"], ["cat", "red dog", "a photo of the cat"]])
def test_prompts_in_one_row_are_the_prompts(names):
    model = clip()
    tokens = prompt_tokens(model, names, 4)
    start = start_context(model).requires_grad_()
    apart = encode_prompts(model, tokens, start)
    together = encode_packed(model, pack(tokens), start)
    close(together, apart)
    weights = torch.randn(apart.shape, generator=torch.Generator().manual_seed(0))
    wanted, found = (
        torch.autograd.grad((embeds * weights).sum(), start)[0]
        for embeds in (apart, together)
    )
    close(found, wanted)
    assert wanted.abs().sum(1).gt(0).all()


def test_coop_answers_alike_with_prompts_in_one_row_and_apart():
    learners = [
        coop.fit(clip(), IMAGES, LABELS, CLASSES, steps=3, packed=way)
        for way in (True, False)
    ]
    assert [learner.in_one_row for learner in learners] == [True, False]
    close(learners[0](IMAGES), learners[1](IMAGES), atol=1e-3)


def test_contexts_of_several_pictures_in_rows_are_the_prompts():
    model = clip()
    tokens = prompt_tokens(model, CLASSES, 4)
    some = start_context(model, None, 4)
    contexts = torch.stack([some, 2 * some])  # [B, M, W]
    rows = contexts.repeat_interleave(len(CLASSES), dim=0)
    apart = encode_prompts(model, tokens.repeat(2), rows)
    together = encode_packed(model, pack(tokens), contexts)
    close(together, apart.unflatten(0, (2, len(CLASSES))))
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_what_stands_in_one_row_is_no_longer_than_it_must():
    tokens = prompt_tokens(clip(), ["cat", "red dog"], 4)
    packed = pack(tokens)
    assert packed.input_ids.shape == (1, 5 + 2 + 3)  # names and their ends
    assert packed.positions.tolist() == [[*range(5), 5, 6, 5, 6, 7]]
    assert packed.ends.tolist() == [6, 9]
    sees = packed.sees[0, 0]
    assert sees[9].tolist() == [True] * 5 + [False] * 2 + [True] * 3
    assert not sees.triu(1).any()
    with pytest.raises(ValueError, match="3 context vectors for 4"):
        encode_packed(clip(), packed, torch.zeros(3, W_TEXT))


def test_cocoop_with_a_silent_network_is_coop():
    predictor = untuned(cocoop.fit)
    close(predictor(IMAGES), untuned(coop.fit)(IMAGES), atol=1e-4)


def test_cocoop_in_a_batch_is_cocoop_one_by_one():
    predictor = cocoop.fit(clip(), IMAGES, LABELS, CLASSES, steps=3, lr=0.05)
    together = predictor(IMAGES)
    alone = torch.cat([predictor([image]) for image in IMAGES])
    close(together, alone, atol=1e-4)
    # It does look: prompts differ between pictures.
    embeds = clip().encode_images(IMAGES[::4])
    prompts = predictor.text_embeds(embeds)
    assert not torch.allclose(prompts[0], prompts[1], atol=1e-4)


def test_kgcoop_penalty_is_half_the_squared_distance():
    a, b = unit(5, 8), unit(5, 8, seed=1)
    half = (a - b).square().sum(1).mean() / 2
    close(kgcoop.knowledge_penalty(a, b), half, atol=1e-6)
    close(kgcoop.knowledge_penalty(a, a), torch.tensor(0.0), atol=1e-6)


def test_kgcoop_penalty_is_zero_where_start_and_reference_agree():
    predictor = untuned(kgcoop.fit)
    own = text_classifier(clip(), CLASSES, ["a picture of a {}"])
    ensemble = text_classifier(clip(), CLASSES, TEMPLATES)
    texts = predictor.text_embeds().detach()
    close(kgcoop.knowledge_penalty(texts, own), torch.tensor(0.0))
    assert kgcoop.knowledge_penalty(texts, ensemble) > 1e-3


def test_kgcoop_without_weight_is_coop_and_with_much_stays_near():
    model, settings = clip(), {"steps": 40, "lr": 1e-2}
    free = coop.fit(model, IMAGES, LABELS, CLASSES, **settings)
    fits = [
        kgcoop.fit(model, IMAGES, LABELS, CLASSES, weight=w, **settings)
        for w in (0.0, 100.0)
    ]
    assert torch.equal(fits[0](IMAGES), free(IMAGES))
    reference = text_classifier(model, CLASSES)
    far, near = (
        kgcoop.knowledge_penalty(f.text_embeds().detach(), reference) for f in fits
    )
    assert near < far


def test_prograd_takes_out_what_opposes():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        task, general = torch.randn(2, 3, 4, generator=generator)
        found = prograd.aligned(task, general)
        if (task * general).sum() < 0:
            close((found * general).sum(), torch.tensor(0.0), atol=1e-5)
            half = prograd.aligned(task, general, 0.5)
            close(half, (task + found) / 2)
        else:
            assert torch.equal(found, task)
    close(prograd.aligned(task, torch.zeros(3, 4)), task)


def test_prograd_does_not_move_away_from_zero_shot():
    # To first order: the rest shrinks with the square of the step.
    model, lr = clip(), 3e-2
    weights = text_classifier(model, CLASSES)
    embeds = model.encode_images(IMAGES)
    zero_shot = model.logit_scale * embeds @ weights.T
    wrong = zero_shot.argmin(1)  # labels against all that CLIP believes

    def divergence(learner):
        logits = learner.logits(Pictures(model, embeds))
        return prograd.zero_shot_divergence(zero_shot, logits)

    rise = {}
    for strength in (0.0, 1.0):
        learner = coop.CoOp(model, CLASSES)
        context = [learner.context]
        logits = learner.logits(Pictures(model, embeds))
        (task,) = torch.autograd.grad(
            torch.nn.functional.cross_entropy(logits, wrong), context
        )
        before = divergence(learner)
        (general,) = torch.autograd.grad(before, context)
        assert (task * general).sum() < 0
        step = lr * prograd.aligned(task, general, strength)
        with torch.no_grad():
            learner.context -= step
            rise[strength] = float(divergence(learner) - before)
    assert rise[0.0] > 0
    assert rise[1.0] < 0.1 * rise[0.0]


def test_prograd_divergence_is_zero_at_zero_shot_and_else_above():
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    zero = prograd.zero_shot_divergence(logits, logits + 3)
    close(zero, torch.tensor(0.0))
    assert prograd.zero_shot_divergence(logits, -logits) > 0


def test_prograd_of_no_strength_is_gradient_descent_on_coops_loss():
    model, lr = clip(), 0.1
    none = prograd.fit(
        model,
        IMAGES,
        LABELS,
        CLASSES,
        strength=0.0,
        steps=1,
        lr=lr,
        batch_size=len(IMAGES),
    )
    learner = coop.CoOp(model, CLASSES)
    pictures = Pictures(model, model.encode_images(IMAGES))
    loss = torch.nn.functional.cross_entropy(learner.logits(pictures), LABELS)
    (gradient,) = torch.autograd.grad(loss, [learner.context])
    close(none.context.detach(), (learner.context - lr * gradient).detach(), atol=1e-6)
    assert none.losses == pytest.approx([loss.item()], abs=1e-5)


def test_prograds_step_never_opposes_zero_shot():
    """What moves is the projected gradient, not Adam's rescaling of it."""
    model = clip()
    embeds = model.encode_images(IMAGES)
    zero_shot = model.logit_scale * embeds @ text_classifier(model, CLASSES).T
    wrong = zero_shot.argmin(1)
    learner = coop.CoOp(model, CLASSES)
    logits = learner.logits(Pictures(model, embeds))
    divergence = prograd.zero_shot_divergence(zero_shot, logits)
    (general,) = torch.autograd.grad(divergence, [learner.context])
    settings = {"steps": 1, "lr": 10.0, "batch_size": len(IMAGES)}
    moved = prograd.fit(model, embeds, wrong, CLASSES, **settings)
    step = moved.context.detach() - learner.context.detach()
    along = (step * general).sum() / (step.norm() * general.norm())
    assert along.abs() < 1e-3  # no step up the divergence


def test_tpt_that_takes_no_step_is_zero_shot():
    predictor = tpt.fit(clip(), None, None, CLASSES, lr=0.0)
    close(predictor(IMAGES), hand_logits(clip(), IMAGES), atol=1e-4)


def test_tpt_lowers_the_entropy_and_forgets_the_picture():
    predictor = tpt.fit(clip(), None, None, CLASSES, lr=0.05, share=1.0)
    before = predictor.context.clone()
    first = predictor(IMAGES[:1])
    predictor(IMAGES[3:])
    assert torch.equal(predictor.context, before)
    assert torch.equal(predictor(IMAGES[:1]), first)
    pixels = clip().preprocess(IMAGES[:1])[0]
    context, _ = predictor.adapted(pixels)
    views = tpt.random_views(pixels, 16, seed=0, smallest=0.5)
    embeds = Pictures(clip(), views).image_embeds
    entropies = []
    for vectors in (before, context):
        texts = encode_prompts(clip(), predictor.tokens, vectors)
        logits = clip().logit_scale * embeds @ texts.T
        entropies.append(float(tpt.mean_entropy(logits.detach())))
    assert entropies[1] < entropies[0]


def test_tpt_entropies():
    logits = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    single = tpt.entropy(logits.softmax(1))
    assert tpt.mean_entropy(logits) >= single.mean()
    same = logits[:1].expand(8, -1)
    close(tpt.mean_entropy(same), single[0])
    close(tpt.mean_entropy(torch.zeros(2, 5)), torch.tensor(math.log(5)))
    kept = tpt.surest(logits, 0.25)
    assert len(kept) == 2
    assert single[kept].max() <= single.sort().values[1]
    assert len(tpt.surest(logits, 0.01)) == 1


def test_tpt_views_begin_with_the_picture():
    pixels = torch.rand(3, 32, 32)
    views = tpt.random_views(pixels, 5, seed=0, smallest=0.5)
    assert views.shape == (5, 3, 32, 32)
    assert torch.equal(views[0], pixels)
    assert not torch.equal(views[1], views[2])
    # Crops of the whole picture are the picture, or its mirror image.
    for view in tpt.random_views(pixels, 6, seed=0, smallest=1.0):
        assert torch.allclose(view, pixels) or torch.allclose(view, pixels.flip(-1))


def test_zero_shot_of_the_tiny_clip_is_an_ensemble():
    # The two baselines differ, or the tests above would prove little.
    one = hand_logits(clip(), IMAGES)
    assert not torch.allclose(zero_shot_logits(clip(), IMAGES), one)
