"""Where a score comes from, by hand."""

from __future__ import annotations

import torch
from distill_tiny import bench
from transfer_tiny import clip, close

from vlmtutor.distill.parts import explain
from vlmtutor.models import inside


def hidden(layer):
    pixels = bench().test_pictures.pixel_values
    return inside.hidden_states(clip(), pixels)[layer].detach()


def texts(*names):
    return clip().encode_texts(list(names))


def test_relevance_can_start_at_the_last_block():
    t = texts("a cat")
    last = inside.relevance(clip(), hidden(3), lambda z: z @ t[0], start=3)
    assert last.shape == (6, 16) and (last >= 0).all()
    block = inside.vision_blocks(clip())[-1]
    attention = inside.attention_weights(block, hidden(3)).requires_grad_()
    out = inside.run_block(block, hidden(3), attention)
    score = (inside.read_out(clip(), out[:, 0]) @ t[0]).sum()
    (gradient,) = torch.autograd.grad(score, attention)
    close(last, (gradient * attention).relu().mean(1)[:, 0, 1:])


def test_rival_names_change_a_softmax_cam_and_not_a_raw_one():
    rows = hidden(3)
    few, many = texts("cat", "bird"), texts("cat", "bird", "red dog")

    def softmax(t):
        return lambda z: (clip().logit_scale * z @ t.T).softmax(1)[:, 0]

    a, b = (explain.grad_cam(clip(), rows, softmax(t)) for t in (few, many))
    assert not torch.allclose(a / a.max(), b / b.max(), atol=1e-3)
    a, b = (
        explain.grad_cam(clip(), rows, lambda z, t=t: (z @ t.T)[:, 0])
        for t in (few, many)
    )
    close(a, b)
    assert a.shape == (6, 16) and (a >= 0).all()


def test_a_row_does_not_touch_its_neighbours_and_clip_gets_no_gradient():
    clip().model.zero_grad()  # other tests share this model
    t = texts("cat")
    both = explain.grad_cam(clip(), hidden(3), lambda z: z @ t[0])
    alone = explain.grad_cam(clip(), hidden(3)[2:3], lambda z: z @ t[0])
    close(both[2:3], alone)
    assert all(p.grad is None for p in clip().model.parameters())
    assert all(p.requires_grad for p in clip().model.parameters())


def test_affinity_is_symmetric_and_nearly_sums_to_one():
    attention = bench().test_pictures.attention
    affinity = explain.attention_affinity(attention, layers=2)
    assert affinity.shape == (6, 16, 16)
    close(affinity, affinity.transpose(1, 2))
    close(affinity.sum(-1), torch.ones(6, 16), atol=0.05)


def test_boxes_hold_each_piece_and_limit_the_spread():
    cam = torch.zeros(4, 4)
    cam[0, 1] = cam[1, 0] = cam[1, 1] = 1.0  # one piece: a corner of three
    cam[3, 3] = 0.9
    box = explain.box_mask(cam.view(1, 16))
    want = torch.zeros(4, 4, dtype=torch.bool)
    want[:2, :2] = want[3, 3] = True
    assert torch.equal(box.view(4, 4), want)
    affinity = torch.full((1, 16, 16), 0.1)
    flat = torch.arange(16.0)[None]
    close(explain.spread_cam(flat, affinity), torch.full((1, 16), 12.0))
    inside = 0.1 * flat[0][want.flatten()].sum()
    limited = explain.spread_cam(flat, affinity, box)
    close(limited, inside.expand(1, 16))
