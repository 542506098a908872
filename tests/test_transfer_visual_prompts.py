"""Identities of prompts in pixels, patches, and in both encoders."""

from __future__ import annotations

import pytest
import torch
from transfer_tiny import (
    CLASSES,
    SIZE,
    W_TEXT,
    W_VISION,
    clip,
    close,
    colors,
    hand_logits,
    tiny_clip,
    zero_shot_logits,
)

import vlmtutor as vt
from vlmtutor.transfer import coop, maple, upt, vp, vpt
from vlmtutor.transfer.few_shot import accuracy
from vlmtutor.transfer.pictures import Pictures
from vlmtutor.transfer.tasks import make_task
from vlmtutor.transfer.visual_prompts import class_tokens, encode_prompted

IMAGES, LABELS = colors(2)


def pixels():
    return clip().preprocess(IMAGES)


def prompts(depth: int, p: int = 3, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return list(torch.randn(depth, p, W_VISION, generator=generator))


def test_vp_starts_at_zero_shot():
    predictor = vp.fit(clip(), IMAGES, LABELS, CLASSES, steps=0)
    close(predictor(IMAGES), zero_shot_logits(clip(), IMAGES), atol=1e-4)


def test_vp_leaves_inner_pixels_alone():
    predictor = vp.fit(clip(), IMAGES, LABELS, CLASSES, width=5, steps=2)
    frame = predictor.frame().detach()
    assert frame.shape == (3, SIZE, SIZE)
    assert frame[:, 5:-5, 5:-5].abs().sum() == 0
    assert (frame[:, :5] != 0).any() and (frame[:, :, -5:] != 0).any()
    assert vp.border(SIZE, 0).sum() == 0
    assert vp.border(SIZE, SIZE // 2).all()
    with pytest.raises(ValueError, match="no frame 17 px"):
        vp.border(SIZE, 17)


def test_no_visual_prompts_is_no_change():
    plain = clip().image_features(pixels())
    close(encode_prompted(clip(), pixels(), []), plain)
    empty = [torch.zeros(0, W_VISION)]
    close(encode_prompted(clip(), pixels(), empty * 4), plain)
    predictor = vpt.fit(clip(), IMAGES, LABELS, CLASSES, n_tokens=0, deep=True, steps=0)
    close(predictor(IMAGES), zero_shot_logits(clip(), IMAGES), atol=1e-4)


def test_prompts_of_zeros_are_not_no_prompts():
    zeros = [torch.zeros(3, W_VISION)]
    plain = clip().image_features(pixels())
    found = encode_prompted(clip(), pixels(), zeros)
    assert not torch.allclose(found, plain, atol=1e-4)


def test_the_order_of_visual_prompts_means_nothing():
    shuffled = [p.flip(0) for p in prompts(4)]
    found = encode_prompted(clip(), pixels(), prompts(4))
    close(encode_prompted(clip(), pixels(), shuffled), found)


def test_deep_prompts_replace_what_the_layer_before_made_of_them():
    # What layer 0 makes of its prompts is overwritten before layer 1: noise
    # in that place must not matter.
    model, deep = clip(), prompts(4)
    plain = encode_prompted(model, pixels(), deep)

    def spoil(module, args, output):
        hidden = output[0] if isinstance(output, tuple) else output
        noise = torch.full_like(hidden[:, -3:], 7.0)
        hidden = torch.cat([hidden[:, :-3], noise], dim=1)
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    layer = model.model.vision_model.encoder.layers[0]
    handle = layer.register_forward_hook(spoil)
    try:
        close(encode_prompted(model, pixels(), deep), plain)
        shallow = encode_prompted(model, pixels(), deep[:1])
    finally:
        handle.remove()
    unspoilt = encode_prompted(model, pixels(), deep[:1])
    assert not torch.allclose(shallow, unspoilt, atol=1e-3)


def test_the_class_token_keeps_its_place():
    model, seen = clip(), []
    layer = model.model.vision_model.encoder.layers[0]
    handle = layer.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    try:
        model.image_features(pixels())
        encode_prompted(model, pixels(), prompts(1))
    finally:
        handle.remove()
    plain, prompted = seen
    assert prompted.shape[1] == plain.shape[1] + 3
    close(prompted[:, : plain.shape[1]], plain)


def test_visual_prompts_must_fit_the_layers():
    with pytest.raises(ValueError, match="5 prompts for 4 layers"):
        encode_prompted(clip(), pixels(), prompts(5))
    uneven = [*prompts(1), *prompts(1, p=2)]
    with pytest.raises(ValueError, match="same number"):
        encode_prompted(clip(), pixels(), uneven)


def test_vpt_shallow_and_deep_agree_in_the_first_layer():
    shallow = vpt.fit(clip(), IMAGES, LABELS, CLASSES, steps=0)
    deep = vpt.fit_deep(clip(), IMAGES, LABELS, CLASSES, steps=0)
    assert torch.equal(shallow.prompts[0], deep.prompts[0])
    bound = (6 / (3 * 8**2 + W_VISION)) ** 0.5
    assert deep.prompts.abs().max() <= bound
    assert deep.prompts.abs().max() > 0.9 * bound


def test_upt_text_side_starts_at_the_words():
    predictor = upt.fit(clip(), IMAGES, LABELS, CLASSES, n_visual=0, steps=0)
    close(predictor(IMAGES), hand_logits(clip(), IMAGES), atol=1e-4)


def test_upt_starts_at_coops_words_and_copies_of_the_class_token():
    """Else "UPT loses" would measure how much its random tokens spoil."""
    model = clip()
    both = upt.fit(model, IMAGES, LABELS, CLASSES, seed=3, steps=0)
    embeddings = model.model.vision_model.embeddings
    token = embeddings(pixels())[:, 0].detach()  # [N, W], the same for all
    close(class_tokens(model, 5), token[:1].expand(5, -1))
    words = coop.fit(model, IMAGES, LABELS, CLASSES, steps=0).text_embeds()
    embeds = encode_prompted(model, pixels(), [class_tokens(model, 5)])
    expected = model.logit_scale * embeds @ words.T
    close(both(IMAGES), expected.detach(), atol=1e-4)
    for seed in range(3):  # near CoOp's own answers
        model = tiny_clip(seed)
        start, own = (
            fit(model, IMAGES, LABELS, CLASSES, steps=0).probabilities(IMAGES)
            for fit in (coop.fit, upt.fit)
        )
        close(own, start, atol=0.06)


def test_on_the_shipped_model_upt_starts_with_coops_accuracy():
    """With random tokens among the patches it had half of that."""
    model = vt.load_clip("phraseclip")
    task = make_task(model, "mixed", "sketch", n_test=2)
    for half in ("base", "novel"):
        test = task.test(half)
        data = model, test.pictures, test.labels, test.classes
        start = accuracy(coop.fit(*data, steps=0), test)
        for arms in ("both", "text", "pictures"):
            own = accuracy(upt.fit(*data, arms=arms, steps=0), test)
            assert own == pytest.approx(start, abs=0.08)


def test_maple_and_independent_prompts_start_from_one_place():
    fits = [
        maple.fit(clip(), IMAGES, LABELS, CLASSES, seed=2, coupled=coupled, steps=0)
        for coupled in (True, False)
    ]
    close(fits[0](IMAGES), fits[1](IMAGES), atol=1e-5)


def test_what_tuning_did_to_the_loss_is_kept():
    learner = vp.fit(clip(), IMAGES, LABELS, CLASSES, steps=7)
    assert len(learner.losses) == 7 and learner.losses[-1] < learner.losses[0]


def test_upt_mixes_both_kinds_of_prompt():
    # A change of one shared vector reaches text and picture alike.
    predictor = upt.fit(clip(), IMAGES, LABELS, CLASSES, steps=3)
    before = [p.detach().clone() for p in predictor.prompts()]
    with torch.no_grad():
        predictor.unified[0, ::2] += 1.0
    after = predictor.prompts()
    for a, b in zip(before, after, strict=True):
        assert not torch.allclose(a, b, atol=1e-6)


def test_upt_layer_by_hand():
    # U' = U + attention(norm(U)); Û = U' + MLP(norm(U')), one head.
    predictor = upt.fit(clip(), IMAGES, LABELS, CLASSES, steps=3)
    mix, u = predictor.mix, predictor.unified  # [M + p, W]
    attention = mix.self_attn
    qkv = mix.norm1(u) @ attention.in_proj_weight.T + attention.in_proj_bias
    q, k, v = qkv.chunk(3, dim=1)
    seen = (q @ k.T / W_TEXT**0.5).softmax(1) @ v
    u = u + attention.out_proj(seen)
    hidden = torch.nn.functional.gelu(mix.linear1(mix.norm2(u)))
    u = u + mix.linear2(hidden)
    context, visual = predictor.prompts()
    M = predictor.n_context
    close(context, predictor.words + predictor.to_text(u[:M]))
    close(visual, predictor.visual + predictor.to_vision(u[M:]))


def test_maple_of_depth_1_without_coupling_is_coop_and_a_constant():
    model = clip()
    predictor = maple.fit(model, IMAGES, LABELS, CLASSES, depth=1, steps=0)
    with torch.no_grad():
        predictor.couplings[0].weight.zero_()
    text = coop.fit(model, IMAGES, LABELS, CLASSES, steps=0).text_embeds()
    constant = predictor.couplings[0].bias.detach().expand(4, -1)
    embeds = encode_prompted(model, pixels(), [constant])
    expected = model.logit_scale * embeds @ text.T
    close(predictor(IMAGES), expected.detach(), atol=1e-4)


def test_maple_text_context_gets_a_gradient_through_the_picture():
    model = clip()
    for coupled in (True, False):
        predictor = maple.MaPLe(model, CLASSES, depth=2, coupled=coupled)
        embeds = encode_prompted(model, pixels(), predictor.visual_prompts())
        parameters = list(predictor.parameters())
        gradients = torch.autograd.grad(
            embeds[:, 0].sum(), parameters, allow_unused=True
        )
        assert parameters[0] is predictor.context
        reached = gradients[0] is not None and gradients[0].any()
        assert bool(reached) == coupled


def test_maple_counts_and_limits():
    free = maple.MaPLe(clip(), CLASSES, depth=3, coupled=False)
    expected = 3 * 4 * W_TEXT + 3 * 4 * W_VISION
    assert free.parameters_trained == expected
    with pytest.raises(ValueError, match="from 1 to 3, not 4"):
        maple.MaPLe(clip(), CLASSES, depth=4)


def test_methods_that_run_the_encoder_refuse_embeddings():
    embeds = Pictures(clip(), IMAGES).image_embeds
    for fit in (vp.fit, vpt.fit, upt.fit, maple.fit):
        with pytest.raises(ValueError, match="needs pictures"):
            fit(clip(), embeds, LABELS, CLASSES, steps=1)


def test_a_single_arm_of_upt_leaves_the_other_where_it_starts():
    for arms, moved in (("text", 0), ("pictures", 1)):
        start = upt.fit(clip(), IMAGES, LABELS, CLASSES, arms=arms, steps=0)
        tuned = upt.fit(clip(), IMAGES, LABELS, CLASSES, arms=arms, steps=3, lr=0.1)
        pairs = zip(start.prompts(), tuned.prompts(), strict=True)
        same = [torch.equal(a, b) for a, b in pairs]
        assert same[1 - moved] and not same[moved]
        both = upt.fit(clip(), IMAGES, LABELS, CLASSES, steps=0)
        close(start(IMAGES), both(IMAGES))
    with pytest.raises(ValueError, match="both, text, pictures"):
        upt.fit(clip(), IMAGES, LABELS, CLASSES, arms="none")
