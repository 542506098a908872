"""The proposer: matching by hand, and it learns to find a blob."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from distill_tiny import bench
from transfer_tiny import clip, close, unit

from vlmtutor.distill.parts import losses, matching, proposals, proposer
from vlmtutor.distill.parts.matching import Outputs
from vlmtutor.distill.parts.regions import mask_pool
from vlmtutor.distill.supervision import Masked, Regions
from vlmtutor.objectives.alignment import focal_loss


def outputs(masks, objects=None, vectors=None):
    N, Q = masks.shape[:2]
    objects = torch.zeros(N, Q) if objects is None else objects
    return Outputs(masks, objects, torch.zeros(N, Q, 4), vectors)


def halves():
    """Two true regions: left and right half."""
    truth = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
    truth[0, 0, :, :2] = truth[0, 1, :, 2:] = True
    return truth


def test_each_region_gets_the_query_that_fits_it():
    truth = halves()
    logits = torch.where(truth[:, [1, 0, 0]], 4.0, -4.0)
    logits[0, 2] = 0  # the third query is undecided
    costs = matching.matching_costs(outputs(logits), truth)
    assert costs.shape == (1, 3, 2)
    pairs = matching.match(costs, torch.tensor([[True, True]]))
    assert sorted(zip(*(p.tolist() for p in pairs[0]), strict=True)) == [(0, 1), (1, 0)]
    only = matching.match(costs, torch.tensor([[True, False]]))
    assert only[0][0].tolist() == [1] and only[0][1].tolist() == [0]


def test_costs_are_the_losses_of_single_pairs():
    truth = halves()
    logits = torch.randn(1, 3, 4, 4)
    costs = matching.matching_costs(outputs(logits), truth)
    for q in range(3):
        for r in range(2):
            one = logits[0, q][None], truth[0, r][None]
            want = (
                matching.MASK_WEIGHT * focal_loss(*one, alpha=matching.ALPHA)
                + matching.DICE_WEIGHT * losses.dice(*one)
                - 0.5
            )
            close(costs[0, q, r], want)


def test_a_blob_lies_at_its_querys_place():
    made = proposer.Proposer(clip(), side=2, width=32)
    blobs = made.blobs(torch.randn(1, 4, 32))  # not moved at first
    assert blobs.shape == (1, 4, 16, 16)
    for q, blob in enumerate(blobs[0]):
        best = blob.flatten().argmax()
        assert (best // 16 // 8, best % 16 // 8) == (q // 2, q % 2)
    made.blob_head.bias.data[0] = 3.0  # all to the right
    moved = made.blobs(torch.randn(1, 4, 32))
    assert moved[0, 0].sum(0).argmax() > blobs[0, 0].sum(0).argmax()


def test_a_querys_vector_starts_as_the_mean_patch_in_its_mask():
    pictures = bench().test_pictures.prepare("pixel_values")[:2]
    made = proposer.Proposer(clip(), side=2, width=32, named=True)
    out = made(pictures)
    mean = mask_pool(pictures.dense, out.masks.sigmoid())
    close(out.vectors, mean, atol=1e-5)
    chance = proposer.Proposer(clip(), side=2, width=32, named=True, near=False)
    assert not torch.allclose(chance(pictures).vectors, mean, atol=1e-2)


def test_names_are_learned_by_matched_queries_and_nothing_by_the_rest():
    W, nothing = unit(3, 8), unit(8, seed=5)
    pairs = [(torch.tensor([0, 2]), torch.tensor([1, 0]))]
    labels = torch.tensor([[2, 255]])  # of the two regions
    good = torch.stack([nothing, nothing, W[2]])[None]
    loss = matching.name_loss(good, pairs, labels, W, nothing, 50.0)
    assert loss < 0.1  # query 0's region is unlabelled: it does not count
    bad = torch.stack([nothing, nothing, W[1]])[None]
    assert matching.name_loss(bad, pairs, labels, W, nothing, 50.0) > 1
    one = [(torch.tensor([0]), torch.tensor([1]))]
    assert matching.name_loss(good, one, labels, W, nothing, 50.0) > 0


def test_repetitions_lose_their_objectness():
    masks = torch.zeros(1, 3, 4, 4, dtype=torch.bool)
    masks[0, :2, :2] = True
    masks[0, 2, 2:] = True
    kept = proposals.without_repeats(torch.tensor([[0.6, 0.9, 0.3]]), masks, 0.7)
    close(kept, torch.tensor([[0.0, 0.9, 0.3]]))


def test_it_learns_from_regions_alone_and_clip_stays():
    data = bench().data(Regions)
    before = {k: v.clone() for k, v in clip().model.state_dict().items()}
    made = proposer.train_proposer(clip(), data, steps=40, side=2, width=32)
    untrained = proposer.Proposer(clip(), side=2, width=32)
    truth = proposer.instance_masks(data.regions)[..., 1::2, 1::2]
    assert truth.shape[-1] == made.fine
    exists = truth.flatten(2).any(2)

    def loss(model):
        with torch.no_grad():
            out = model(data.pictures)
            pairs = matching.match(matching.matching_costs(out, truth), exists)
            return matching.group_loss(out, truth, pairs)

    assert loss(made) < 0.8 * loss(untrained)
    after = clip().model.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in before.items())
    again = proposer.train_proposer(clip(), data, steps=40, side=2, width=32)
    close(loss(again), loss(made))


def test_proposals_do_not_depend_on_names_and_come_likeliest_first():
    data = bench().data(Masked)
    made = proposer.shared_proposer(clip(), data, names=data.names, steps=2, width=32)
    assert made is proposer.shared_proposer(
        clip(), data, names=data.names, steps=2, width=32
    )
    assert made.queries == 16
    found = proposals.propose(made, bench().test_pictures, most=5)
    assert found.masks.shape == (6, 5, 32, 32)
    assert found.vectors.shape == (6, 5, 16)
    close(found.vectors.norm(dim=-1), torch.ones(6, 5))
    assert (found.objectness.diff(dim=1) <= 0).all()
    assert found.binary.dtype == torch.bool
    whole = proposals.propose(made, bench().test_pictures, most=99)
    assert whole.masks.shape[1] == 16
    sure = found.objectness > 0  # repetitions, all 0, have no order
    assert sure.any()
    close(whole.masks[:, :5][sure], found.masks[sure])
    assert made.nothing.shape == (16,)
    assert F.cosine_similarity(made.nothing, torch.ones(16), dim=0) < 1
