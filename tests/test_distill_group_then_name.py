"""Methods that group and then name are what they say: identity tests."""

from __future__ import annotations

import dataclasses
import functools
import inspect

import pytest
import torch
import torch.nn.functional as F
from distill_tiny import bench, protocol
from told import Told
from transfer_tiny import clip, close, unit

from vlmtutor.distill.bench import references
from vlmtutor.distill.bench.answers import predict
from vlmtutor.distill.bench.protocol import Bench
from vlmtutor.distill.bench.regions import region_figures
from vlmtutor.distill.bench.trial import Trial
from vlmtutor.distill.parts import near_map
from vlmtutor.distill.parts.proposals import propose
from vlmtutor.distill.parts.refine import upsample
from vlmtutor.distill.parts.texts import (
    background_classifier,
    class_scores,
    text_classifier,
)
from vlmtutor.distill.parts.two_stage import ASKED, TwoStage, likely
from vlmtutor.distill.segmentation import freeseg, openseg, ovseg, zegformer, zsseg
from vlmtutor.distill.supervision import Captioned, Masked, Regions
from vlmtutor.models.inside import as_map, as_tokens, vision_blocks

NAMES, BASE, SEEN = bench().names, bench().base, bench().seen
MASKS_AND_WORDS = (Masked, Captioned)
METHODS = {
    "ZSSeg": (zsseg, Masked, {"steps": 2, "prompt_steps": 2}),
    "ZegFormer": (zegformer, Masked, {"steps": 2}),
    "OVSeg": (
        ovseg,
        MASKS_AND_WORDS,
        {"steps": 2, "token_steps": 2, "proposer_steps": 2},
    ),
    "FreeSeg": (freeseg, Masked, {"steps": 3, "prompt_steps": 2}),
    "OpenSeg": (openseg, (Regions, Captioned), {"steps": 2, "proposer_steps": 2}),
}


@functools.cache
def fitted(name, **settings):
    module, needs, own = METHODS[name]
    return module.fit(clip(), bench().data(needs), 0, **own | settings)


@pytest.mark.parametrize("name", METHODS)
def test_clip_stays_and_maps_cover_all_names(name):
    before = [p.clone() for p in clip().model.parameters()]
    model = fitted(name)
    after = clip().model.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert model.trained > 0
    labels = predict(model, bench().test_pictures, NAMES, SEEN)
    assert labels.shape == bench().test_pictures.images.shape[:3]
    assert int(labels.max()) <= len(NAMES)


@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"FreeSeg"}))
def test_proposals_do_not_depend_on_the_vocabulary(name):
    model, pictures = fitted(name), bench().test_pictures
    many = model.scores(pictures, NAMES, SEEN)[:, -1]
    few = model.scores(pictures, NAMES[:2], SEEN[:2])[:, -1]
    assert torch.equal(many, few)  # the background is where no region is


def shown(monkeypatch, name):
    """What CLIP was asked to look at: arguments of crop_encode."""
    import vlmtutor.distill.parts.two_stage as two_stage

    calls, real = [], two_stage.crop_encode

    def spy(*args):
        calls.append(args)
        return real(*args)

    monkeypatch.setattr(two_stage, "crop_encode", spy)
    fitted(name).scores(bench().test_pictures, NAMES, SEEN)
    return calls[0]


@pytest.mark.parametrize(
    "name, fill", [("ZSSeg", "mean"), ("ZegFormer", "mean"), ("OVSeg", "mean")]
)
def test_regions_are_shown_cropped_and_masked(monkeypatch, name, fill):
    _, _, _, used, mode, *_ = shown(monkeypatch, name)
    assert (used, mode) == (fill, "cropmask")


def two_stage(rule, **settings) -> TwoStage:
    """Two stages that name a made-up region."""
    return TwoStage(clip(), fitted("ZegFormer").proposer, rule, 0.7, 0, **settings)


def scores_with(monkeypatch, model, opinion):
    """Region scores when CLIP's logits [C] are ``opinion`` everywhere."""
    pictures = bench().test_pictures[:2]
    found = propose(model.proposer, pictures)
    asked = torch.ones(found.objectness.shape, dtype=torch.bool)
    monkeypatch.setattr(
        TwoStage, "clip_logits", lambda *args: (opinion.expand(*asked.shape, -1), asked)
    )
    return model.region_scores(found, pictures, NAMES, SEEN)


def test_zegformer_asks_clip_only_whether_it_is_a_seen_thing(monkeypatch):
    opinion = torch.randn(len(NAMES))
    mixed = opinion.clone()
    n = len(BASE)
    mixed[:n] = opinion[:n].roll(1)
    for rule, same in (("zegformer", True), ("zsseg", False)):
        a, b = (
            scores_with(monkeypatch, two_stage(rule), logits)
            for logits in (opinion, mixed)
        )
        assert torch.allclose(a, b, atol=1e-6) is same


def test_exponents_are_swapped_for_novel_names_unless_it_is_ovseg(monkeypatch):
    opinion = torch.randn(len(NAMES))
    model = two_stage("zsseg")
    got = scores_with(monkeypatch, model, opinion)
    found = propose(model.proposer, bench().test_pictures[:2])
    q = model.query_logits(found, NAMES).softmax(-1)[..., :-1]
    c = opinion.softmax(-1).expand_as(q)
    swapped = torch.where(SEEN, q**0.7 * c**0.3, q**0.3 * c**0.7)
    close(got, swapped)
    alike = scores_with(monkeypatch, two_stage("ovseg"), opinion)
    close(alike, q**0.3 * c**0.7)


def test_no_object_is_in_clips_softmax_for_zegformer_alone(monkeypatch):
    assert fitted("ZegFormer").refuse
    assert not fitted("ZSSeg").refuse and not fitted("OVSeg").refuse
    opinion = torch.randn(len(NAMES))
    refuse, accept = (
        scores_with(monkeypatch, two_stage("ovseg", branch="clip", refuse=r), opinion)
        for r in (True, False)
    )
    close(accept.sum(-1), torch.ones_like(accept.sum(-1)))
    assert (refuse.sum(-1) < 1).all()


def test_the_offset_comes_after_regions_are_added_up_and_names_the_ground():
    pictures = bench().test_pictures
    plain, less = (fitted("ZegFormer", gamma=g) for g in (0.0, 0.2))
    a, b = (m.scores(pictures, NAMES, SEEN) for m in (plain, less))
    close(a[:, :-1][:, SEEN] - 0.2, b[:, :-1][:, SEEN])
    close(a[:, :-1][:, ~SEEN], b[:, :-1][:, ~SEEN])
    ground = len(NAMES)
    assert torch.equal(a.argmax(1) == ground, b.argmax(1) == ground)


def test_the_likeliest_regions_are_asked_however_sure_they_are():
    found = propose(fitted("ZegFormer").proposer, bench().test_pictures)
    timid = dataclasses.replace(found, objectness=found.objectness / 1e3)
    assert timid.objectness.max() < 0.2
    asked = likely(timid)
    assert torch.equal(asked, likely(found)) and asked.any()
    assert not asked[:, ASKED:].any()


@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"OpenSeg"}))
def test_readings_of_one_fit_show_clip_each_crop_once(name):
    module, needs, own = METHODS[name]
    info, readings = module.INFO, [{"lam": 0.2}, {"lam": 0.7, "background": 0.3}]
    trial = Trial(bench(), functools.partial(module.fit, **own))
    first = trial.result(info, **readings[0])
    crops = trial.model(info).encode.found
    shown = len(crops)
    kept = [first, trial.result(info, **readings[1])]
    assert len(crops) == shown > 0
    trial.noisy(info)
    assert len(crops) > shown  # other pictures, other crops
    for reading, result in zip(readings, kept, strict=True):
        alone = fitted(name, **reading)  # with crops of its own
        expected = bench().answer(alone, seen=trial.seen(info))
        assert (result.counts == expected.counts).all()


def test_instances_are_regions_with_their_best_name():
    model, pictures = fitted("ZegFormer"), bench().test_pictures
    found = model.instances(pictures, NAMES, SEEN)
    assert len(found) == len(pictures)
    for one in found:
        n = len(one["labels"])
        assert one["boxes"].shape == (n, 4) and one["masks"].shape[0] == n
        assert (one["labels"] < len(NAMES)).all() and (one["scores"] > 0).all()
        rows, columns = (one["masks"].any(k) for k in (2, 1))
        for k, (x0, y0, x1, y1) in enumerate(one["boxes"].long()):
            assert rows[k].nonzero().aminmax() == (y0, y1 - 1)
            assert columns[k].nonzero().aminmax() == (x0, x1 - 1)


def test_pixels_and_regions_start_from_one_map():
    """Or a check of regions against pixels measures the start."""
    pictures = bench().test_pictures.prepare("pixel_values")
    data = bench().data(Masked)
    pixels = near_map.train_pixels(clip(), data, 0, steps=0)
    with torch.no_grad():
        z = pixels.net(pictures)
    close(z, F.normalize(upsample(as_map(pictures.dense), z.shape[-1]), dim=1))
    regions = fitted("ZegFormer").proposer
    assert pixels.net.fine == regions.fine
    assert isinstance(regions, near_map.SharpTrunk)
    trained = near_map.train_pixels(clip(), data, 0, steps=2)
    assert not torch.equal(
        trained.scores(pictures, NAMES), pixels.scores(pictures, NAMES)
    )


def test_zssegs_prompt_is_learned_on_base_crops_alone():
    E, labels = zsseg.base_crops(clip(), bench().data(Masked), "mean")
    assert len(E) == len(labels) > 0
    assert int(labels.max()) < len(BASE)
    learned, hand = (fitted("ZSSeg", prompt=p) for p in ("learned", "hand"))
    a, b = (m.prompts.with_classes(NAMES).text_embeds() for m in (learned, hand))
    assert not torch.allclose(a, b, atol=1e-5)
    close(b, clip().encode_texts([f"a picture of a {n}" for n in NAMES]))


def test_zssegs_crops_are_one_size_when_learning_and_when_naming():
    assert "margin" not in inspect.signature(zsseg.fit).parameters
    assert fitted("ZSSeg").margin == zsseg.MARGIN
    for info in zsseg.ROWS:
        assert "margin" not in {*info.knobs, *info.reading}


@pytest.mark.parametrize("module", [zsseg, zegformer])
def test_regions_learn_as_long_as_the_classifier_of_pixels(module):
    (check,) = (
        c for c in module.checks(Told()) if "classifier of pixels" in c.sentence
    )
    assert check.better[1]["steps"] == references.PIXEL_STEPS
    assert check.worse[0] == "classifier of pixels"


# OVSeg


def tower_inputs():
    pixels = bench().test_pictures.pixel_values[:3]
    inside = torch.zeros(3, *pixels.shape[2:])
    inside[:, 8:16, 8:24] = 1.0
    return pixels, inside


def test_untouched_the_tower_is_clips_own():
    pixels, inside = tower_inputs()
    embeds = bench().test_pictures.image_embeds[:3]
    tower = ovseg.MaskedTower(clip(), "none")
    close(tower(pixels, inside), embeds, atol=1e-4)


def test_mask_tokens_take_the_place_of_empty_patches_only():
    pixels, inside = tower_inputs()
    tower = ovseg.MaskedTower(clip(), "mpt")
    torch.nn.init.normal_(tower.tokens)
    empty = tower.empty(inside)[..., 0]  # [R, T], 4 patches a row
    assert (~empty[0]).nonzero()[:, 0].tolist() == [5, 6]
    embeds = bench().test_pictures.image_embeds[:3]
    full = torch.ones_like(inside)
    close(tower(pixels, full), embeds, atol=1e-4)
    changed = pixels.clone()  # what an empty patch shows does not matter
    changed[..., 24:, 24:] = 9.0
    close(tower(changed, inside), tower(pixels, inside), atol=1e-4)
    assert not torch.allclose(tower(pixels, inside), embeds, atol=1e-3)


def test_an_empty_patch_keeps_its_position():
    """Tokens come before it is added: the same token, another place."""
    pixels, inside = tower_inputs()
    tower = ovseg.MaskedTower(clip(), "mpt")
    torch.nn.init.zeros_(tower.tokens)
    heard = []
    first = vision_blocks(clip())[0].layer_norm1
    hook = first.register_forward_pre_hook(lambda m, args: heard.append(args[0]))
    with torch.no_grad():
        tower.before(pixels, inside)
    hook.remove()
    vision = clip().model.vision_model
    places = vision.pre_layrnorm(vision.embeddings.position_embedding.weight)[1:]
    empty = tower.empty(inside)[0, :, 0]
    close(heard[0][0, 1:][empty], places[empty].detach(), atol=1e-4)


def test_tokens_are_trained_long_enough_to_say_something():
    wanted = inspect.signature(ovseg.fit).parameters
    assert wanted["token_steps"].default >= 200


def test_tokens_are_tuned_and_weights_are_not():
    tower = fitted("OVSeg", mode="mpt").encode
    assert [n for n, _ in tower.named_parameters()] == ["tokens"]
    fresh = ovseg.MaskedTower(clip(), "mpt").tokens
    assert not torch.equal(tower.tokens, fresh)
    tuned = fitted("OVSeg", mode="ft").encode
    assert tuned.tokens is None and tuned.last is not None
    own = clip().model.visual_projection.weight
    assert not torch.equal(tuned.project.weight, own)


def test_weights_are_tuned_first_and_stay_while_tokens_are_learned():
    both, tuned = (fitted("OVSeg", mode=m).encode for m in ("both", "ft"))
    for name in ("last", "norm", "project"):  # what they became without tokens
        pairs = (getattr(t, name).parameters() for t in (both, tuned))
        assert all(torch.equal(a, b) for a, b in zip(*pairs, strict=True)), name
    fresh = ovseg.MaskedTower(clip(), "both").tokens
    alone = fitted("OVSeg", mode="mpt").encode.tokens
    assert not torch.equal(both.tokens, fresh)
    assert not torch.equal(both.tokens, alone)  # learned in the tuned tower


def test_without_tokens_empty_patches_stay():
    tower, own = (ovseg.MaskedTower(clip(), m) for m in ("mpt", "none"))
    plain = tower.before(*tower_inputs(), tokens=False)
    assert torch.equal(plain, own.before(*tower_inputs()))
    assert not torch.equal(plain, tower.before(*tower_inputs()))


def test_pairs_come_from_captions_and_proposals():
    proposer = fitted("OVSeg").proposer
    data = bench().data(Captioned)
    pairs = ovseg.mine(clip(), proposer, data, margin=1.0)
    spoken = {p for row in data.phrases() for p in row}
    assert len(pairs) <= sum(map(len, data.phrases()))
    vectors = ovseg.text_classifier(clip(), sorted(spoken), ("{}",))
    nearest = (pairs.texts @ vectors.T).amax(1)
    close(nearest, torch.ones(len(pairs)), atol=1e-5)


# OpenSeg


def test_words_ask_regions_and_captions_average_words():
    z, words = unit(2, 3, 5), unit(2, 2, 5)
    there = torch.tensor([[True, True, False], [True, True, True]])
    spoken = torch.tensor([[True, False], [True, True]])
    got = openseg.caption_scores(z, there, words, spoken, 4.0)
    cosine = z[0, :2] @ words[1].T  # [Q, K]
    by_hand = ((4 * cosine).softmax(0) * cosine).sum(0).mean()
    close(got[0, 1], by_hand)
    alone = z[0, :2] @ words[0, 0]
    close(got[0, 0], ((4 * alone).softmax(0) * alone).sum())


def test_openseg_is_handed_no_names_of_masks():
    shapes = bench().data(Regions)
    assert not hasattr(shapes, "labels") and not hasattr(shapes, "names")
    assert fitted("OpenSeg").proposer.name_head is None


def test_openseg_has_a_map_for_masks_and_one_for_names():
    model = fitted("OpenSeg")
    shapes = {id(p) for p in model.proposer.parameters()}
    names = {id(p) for p in model.network.parameters()}
    assert shapes and names and not shapes & names


def test_without_masks_every_cell_is_a_region():
    z = torch.randn(2, 5, 16, 16)
    cells, there = openseg.pooled_regions(z, None, torch.arange(2), "patches")
    assert cells.shape == (2, 16, 5) and there.all()


def test_the_arm_without_masks_has_no_proposer():
    """Not its foreground either, or both arms share what is compared."""
    pictures, model = bench().test_pictures, fitted("OpenSeg", regions="patches")
    assert model.proposer is None
    W, places = (
        text_classifier(clip(), NAMES),
        background_classifier(clip()),
    )
    with torch.no_grad():
        z = model.network(pictures)
    scores = class_scores(as_tokens(z), W, places)
    close(
        model.scores(pictures, NAMES),
        clip().logit_scale * upsample(scores, pictures.images.shape[1]),
        atol=1e-3,
    )


def test_one_region_a_picture_is_the_global_comparison():
    z, words = unit(2, 1, 5), unit(2, 3, 5)
    there = torch.ones(2, 1, dtype=torch.bool)
    spoken = torch.ones(2, 3, dtype=torch.bool)
    got = openseg.caption_scores(z, there, words, spoken, 4.0)
    close(got, torch.einsum("bd,mkd->bm", z[:, 0], words) / 3)


# FreeSeg


def test_both_rows_of_freeseg_share_one_fit():
    assert fitted("FreeSeg").proposer is fitted("FreeSeg", tuning=5).proposer
    other = fitted("FreeSeg", interact=False)
    assert fitted("FreeSeg").proposer is not other.proposer


def test_freesegs_masks_change_with_the_vocabulary():
    pictures = bench().test_pictures
    for interact, same in ((True, False), (False, True)):
        model = fitted("FreeSeg", interact=interact)
        many, few = (model.found(pictures, names).masks for names in (NAMES, NAMES[:2]))
        assert torch.allclose(many, few, atol=1e-6) is same


def test_what_reads_no_names_is_normed_as_what_does():
    pictures = bench().test_pictures[:2].prepare("pixel_values")
    nets = [freeseg.FreeNet(clip(), interact, 0) for interact in (True, False)]
    nets[0].texts = text_classifier(clip(), NAMES)
    torch.nn.init.zeros_(nets[0].interaction.look.out_proj.weight)
    with torch.no_grad():
        a, b = (net.features(pictures) for net in nets)
    close(a, b, atol=1e-5)  # a look that adds nothing
    assert torch.equal(nets[0].nothing, nets[1].nothing)
    assert torch.equal(nets[0].stuff, nets[1].stuff)


def test_instances_are_asked_for_as_instances(monkeypatch):
    """So the query of the background is none of them."""
    model, pictures = fitted("FreeSeg"), bench().test_pictures
    asked, real = [], freeseg.propose

    def spy(net, some):
        asked.append((net.things, net.queries))
        return real(net, some)

    monkeypatch.setattr(freeseg, "propose", spy)
    found = model.instances(pictures, NAMES, SEEN)
    assert asked == [(True, model.proposer.side**2)]
    told = dataclasses.replace(model, task="instance")
    assert torch.equal(
        found[0]["masks"], told.instances(pictures, NAMES, SEEN)[0]["masks"]
    )
    assert len(found) == len(pictures)


def test_what_is_tuned_at_test_is_so_for_boxes_and_oracles_too(monkeypatch):
    model, tuned = fitted("FreeSeg", tuning=5), []

    def moved(self, pictures, names, novel):
        tuned.append((self.task, len(pictures), novel))
        return self.words.context + 1.0

    monkeypatch.setattr(freeseg.FreeSeg, "tuned_context", moved)
    pictures = bench().test_pictures
    plain = dataclasses.replace(model, tuning=0)
    told = model.at_test(pictures, NAMES, SEEN)
    assert told.tuning == 0 and told.context is not None
    assert plain.at_test(pictures, NAMES, SEEN) is plain
    tuned.clear()
    figures = region_figures(bench(), model, pictures, SEEN)
    asked = {task for task, *_ in tuned}
    assert asked == {"instance", "semantic"} and len(tuned) == 1 + 3
    assert all(novel == NAMES[len(BASE) :] for *_, novel in tuned)
    again = region_figures(bench(), told, pictures, SEEN)
    assert figures == again


def test_freesegs_training_is_its_own_and_both_rows_have_it():
    own = Bench(clip(), protocol(7))
    rows = {"steps": 2, "prompt_steps": 2}
    trial = Trial(own, freeseg.fit, {info.name: rows for info in freeseg.ROWS})
    first, second = (trial.row(info) for info in freeseg.ROWS)
    assert first["shared_s"] == second["shared_s"] == 0
    spent = trial.model(freeseg.INFO).proposer.trained_at[1]
    for info in freeseg.ROWS:
        assert trial.seconds(info) >= spent > 0


def test_the_ground_is_what_the_network_calls_so():
    model, pictures = fitted("FreeSeg"), bench().test_pictures
    with torch.no_grad():
        found = model.found(pictures, NAMES)
        T = model.texts(NAMES, "semantic")
    vectors = T[torch.arange(found.vectors.shape[1]) % len(T)]
    found = dataclasses.replace(found, vectors=vectors.expand_as(found.vectors))
    ground = model.grounds(found, NAMES)
    assert ground[0].nonzero()[:, 0].tolist() == [len(NAMES)]


def test_the_task_changes_the_texts_and_nothing_else():
    model = fitted("FreeSeg")
    a, b = (model.words(NAMES, task) for task in ("semantic", "panoptic"))
    assert not torch.allclose(a, b, atol=1e-4)
    assert not any("semantic" in n for n, _ in model.proposer.named_modules())


def test_tasks_see_the_same_scene_in_their_own_way():
    regions = torch.tensor([[[0, 0, 1], [-1, 2, 2], [-1, -1, -1]]])
    labels = torch.tensor([[[0, 0, 0], [2, 1, 1], [2, 2, 2]]])
    data = Masked(None, labels, regions, ["a", "b"])
    kinds = {task: freeseg.task_regions(data, task) for task in freeseg.TASKS}
    masks, names = kinds["instance"]
    assert names[0, :3].tolist() == [0, 0, 1]
    assert masks[0].sum((1, 2)).tolist() == [2, 1, 2, 0, 0]
    masks, names = kinds["semantic"]
    assert masks[0].sum((1, 2)).tolist() == [3, 0, 2, 0, 4]
    masks, names = kinds["panoptic"]
    assert masks[0].sum((1, 2)).tolist() == [2, 1, 2, 0, 4]
    assert names[0, -1] == 2  # the background is a region with a name


def task_gradients(net, words, data, task):
    """Of the masks' losses of one task, on what all stickers share."""
    model = freeseg.FreeSeg(clip(), net, words)
    net.texts, net.things = model.texts(BASE, task), task == "instance"
    masks, _ = freeseg.task_regions(data, task)
    masks = freeseg.shrink_labels(masks.flatten(0, 1), net.fine)
    masks = masks.unflatten(0, (len(data), -1))
    outputs = net(data.pictures)
    loss = freeseg.group_loss(outputs, masks, freeseg.pairs_of(outputs, masks))
    shared = [net.sticker_head.weight, net.blob_head.weight]
    return torch.autograd.grad(loss, shared, allow_unused=True)


def test_tasks_pull_what_stickers_share_the_same_way():
    data = bench().data(Masked)
    words = fitted("FreeSeg").words
    net = freeseg.FreeNet(clip(), True, 0)
    found = {task: task_gradients(net, words, data, task) for task in freeseg.TASKS}
    for a, b in zip(found["panoptic"], found["instance"], strict=True):
        assert F.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.5
    for a, b in zip(found["semantic"], found["panoptic"], strict=True):
        assert F.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.5


def test_the_background_is_drawn_by_a_query_of_its_own():
    net = freeseg.FreeNet(clip(), False, 0)
    pictures = bench().test_pictures[:2].prepare("pixel_values")
    assert net.queries == net.side**2 + 1
    with torch.no_grad():
        before = net(pictures).masks
        net.sticker_head.bias += 3
        after = net(pictures).masks
        net.things = True
        alone = net(pictures).masks
    close(after[:, :-1], before[:, :-1] + 3, atol=1e-4)
    assert torch.equal(after[:, -1], before[:, -1])
    assert alone.shape[1] == net.queries == net.side**2


def test_what_regions_say_of_the_background_reaches_the_ground():
    model, pictures = fitted("FreeSeg"), bench().test_pictures
    with torch.no_grad():
        found = model.found(pictures, NAMES)
        p = model.named(found, pictures, NAMES, SEEN)
    assert p.shape[-1] == len(NAMES) + 1 and (p[..., -1] > 0).any()
    grounds = model.lay_out(found, p, SEEN)[:, -1]
    p[..., -1] = 0
    assert (grounds >= model.lay_out(found, p, SEEN)[:, -1]).all()
    assert not torch.allclose(grounds, model.lay_out(found, p, SEEN)[:, -1])


def test_tuning_at_test_lowers_the_entropy_of_novel_names():
    pictures = bench().test_pictures
    novel = [n for n, s in zip(NAMES, SEEN, strict=True) if not s]
    model = fitted("FreeSeg", tuning=5)
    before = model.words.context.clone()
    tuned = model.tuned_context(pictures, NAMES, novel)
    assert torch.equal(model.words.context, before)  # no picture is kept

    def entropy(context):
        found = model.found(pictures, NAMES)
        W = model.words(novel, "semantic", context)
        p = (clip().logit_scale * found.vectors[likely(found)] @ W.T).softmax(-1)
        return float(-(p * p.log()).sum(-1).mean())

    assert tuned.shape == before.shape
    if not torch.equal(tuned, before):
        assert entropy(tuned) < entropy(before)
