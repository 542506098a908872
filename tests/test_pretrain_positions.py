"""Cropped positions and the focal loss of pairs: RO-ViT's two knobs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_pretrain_run import TINY
from transfer_tiny import tiny_clip

from vlmtutor.objectives.contrastive import siglip_loss
from vlmtutor.pretrain import run as module
from vlmtutor.pretrain.cli import parse_config
from vlmtutor.pretrain.data import Steps
from vlmtutor.pretrain.forward import encode_images
from vlmtutor.pretrain.losses import focal_pair_loss
from vlmtutor.pretrain.positions import (
    AREA,
    cropped_positions,
    draw_crops,
    step_crops,
)
from vlmtutor.pretrain.run import Pretraining
from vlmtutor.pretrain.spread import ALONE, Spread

WHOLE = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
CROPPED = replace(TINY, positions="cropped")


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_whole_square_is_the_table_itself():
    table = torch.randn(1 + 36, 8)
    torch.testing.assert_close(cropped_positions(table, WHOLE)[0], table)


def test_a_quarter_lies_between_its_positions():
    side = 8
    y, x = torch.meshgrid(*[torch.arange(side) + 0.5] * 2, indexing="ij")
    places = torch.stack([x, y], -1).flatten(0, 1) / side  # of each patch
    table = torch.cat([torch.tensor([[9.0, 9.0]]), places])
    crop = torch.tensor([[0.25, 0.5, 0.75, 1.0]])
    found = cropped_positions(table, crop)[0]
    torch.testing.assert_close(found[0], table[0])  # the class token stays
    inner = (places[:, 1] > 0.1) & (places[:, 1] < 0.8)  # edges are repeated
    wanted = crop[0, :2] + places * 0.5
    torch.testing.assert_close(found[1:][inner], wanted[inner])


def test_parts_lie_in_the_picture_and_differ():
    crops = draw_crops(2000, rng())
    sides = crops[:, 2:] - crops[:, :2]
    assert crops.min() >= 0 and crops.max() <= 1 + 1e-6
    area, ratio = sides.prod(1), sides[:, 0] / sides[:, 1]
    assert AREA[0] * 0.7 < area.min() < 0.12 and area.max() > 0.85
    assert 0.49 < ratio.min() < 0.6 and 1.7 < ratio.max() < 2.01
    assert crops[:, :2].std(0).min() > 0.1


def test_two_draws_are_two_embeddings_and_use_knows_no_draw():
    clip, pixels = tiny_clip(), torch.randn(1, 3, 32, 32, generator=rng())
    with torch.no_grad():
        plain, patches = encode_images(clip.model, pixels)
        a, b = (
            encode_images(clip.model, pixels, draw_crops(1, rng(k)))[0] for k in (1, 2)
        )
        whole = encode_images(clip.model, pixels, WHOLE)
    assert not torch.allclose(a, b, atol=1e-4)
    torch.testing.assert_close(whole[0], plain)
    torch.testing.assert_close(whole[1], patches)
    torch.testing.assert_close(clip.encode_pixels(pixels), plain)


def test_a_step_has_parts_of_its_own():
    size, batch, mosaics = Steps(CROPPED)[0]
    crops = step_crops(CROPPED, 3, ALONE, batch, mosaics)
    assert crops.shape == (len(batch.pixels) + len(mosaics.pixels), 4)
    assert torch.equal(crops, step_crops(CROPPED, 3, ALONE, batch, mosaics))
    for other in (
        step_crops(CROPPED, 4, ALONE, batch, mosaics),
        step_crops(CROPPED, 3, Spread(1, 2), batch, mosaics),
        step_crops(replace(CROPPED, seed=1), 3, ALONE, batch, mosaics),
    ):
        assert not torch.equal(crops, other)
    assert step_crops(TINY, 3, ALONE, batch, mosaics) is None


def test_sure_pairs_count_little():
    a, b = (
        torch.nn.functional.normalize(torch.randn(5, 8, generator=rng(k)), dim=-1)
        for k in (0, 1)
    )
    ignore = torch.zeros(5, 5, dtype=torch.bool)
    ignore[0, 3] = ignore[2, 2] = True  # the diagonal is never left out
    args = a, b, 6.0, -1.5
    plain = focal_pair_loss(*args, 0.0, ignore)
    torch.testing.assert_close(plain, siglip_loss(*args, ignore))
    p = torch.sigmoid(6 * a @ b.T - 1.5)
    right = torch.where(torch.eye(5) > 0, p, 1 - p)
    own = -(1 - right) * right.log()
    own[0, 3] = 0
    torch.testing.assert_close(focal_pair_loss(*args, 1.0, ignore), own.sum() / 5)


def test_a_run_with_both_knobs_trains_its_positions(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "common_words", list)
    config = replace(CROPPED, loss="sigmoid", focus=1.0, bias=-7.0)
    training = Pretraining(tmp_path, config)
    assert float(training.trainer.bias.detach()) == -7
    embeddings = training.trainer.clip.vision_model.embeddings
    before = embeddings.position_embedding.weight.detach().clone()
    terms = training.train_step()
    assert all(value == value for value in terms.values())
    after = embeddings.position_embedding.weight.detach()
    assert not torch.equal(before, after)
    plain = Pretraining(tmp_path / "plain", replace(config, positions="whole"))
    assert plain.train_step()["clip"] != pytest.approx(terms["clip"], rel=1e-6)


def test_knobs_are_checked():
    assert parse_config(["positions=cropped"]).positions == "cropped"
    with pytest.raises(ValueError, match="cropped"):
        parse_config(["positions=halved"])
