"""The questions of the generative notebook, on hand-made answers."""

from __future__ import annotations

import pytest
import torch

from vlmtutor.lessons import generative as study
from vlmtutor.models.config import FrameworkConfig
from vlmtutor.models.frameworks import TwoLeg
from vlmtutor.models.words import to_ids
from vlmtutor.objectives.generative import masked_image_loss, patchify


@pytest.fixture(scope="module")
def pairs():
    return study.make_data(80, 30)


def test_every_caption_has_four_slots(pairs):
    train, test = pairs
    drawn = {scene.seed for scene in train.scenes}
    assert not drawn & {scene.seed for scene in test.scenes}
    for scene, caption in zip(train.scenes, train.captions, strict=True):
        found = study.slots(caption)
        spot = scene.layout.placements[0]
        assert found["colour"] == spot.color
        assert found["size"] == (spot.size_word or "")
        assert found["thing"].split()[-1] in scene.objects[0].name.split()


def test_slots_by_hand():
    assert study.slots("a big lion on an orange disc, at sea") == {
        "size": "big",
        "thing": "lion",
        "colour": "orange",
        "place": "at sea",
    }
    assert study.slots("an apple on a red disc, on checks")["size"] == ""
    for broken in ("a big lion", "a lion on a lion disc, at sea", ""):
        assert study.slots(broken) is None


def test_slots_right_counts_each_slot():
    truth = ["a big lion on a red disc, at sea"] * 4
    written = [
        truth[0],
        "a lion on a red disc, at sea",
        "a big fox on a blue disc, at sea",
        "red red red",
    ]
    assert study.slots_right(written, truth) == {
        "size": 0.5,
        "thing": 0.5,
        "colour": 0.5,
        "place": 0.75,
        "all": 0.25,
        "sentences": 0.75,
    }
    with pytest.raises(ValueError, match="no captions"):
        study.slots_right([], [])


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("lion", "thing"),
        ("cherries", "thing"),
        ("red", "colour"),
        ("big", "size"),
        ("sea", "place"),
        ("stripes", "place"),
        ("on", "function"),
        ("the", "function"),
        (",", "function"),
        ("disc", "function"),
        ("background", "function"),
        ("<pad>", "function"),
    ],
)
def test_kinds_of_words(word, kind):
    assert study.kind_of(word) == kind


def test_loss_by_kind_is_the_mean_over_hidden_words(pairs):
    _, test = pairs
    V = len(test.tokenizer)
    model = TwoLeg(
        FrameworkConfig(
            V,
            text_length=20,
            width=16,
            heads=2,
            image_layers=1,
            text_layers=1,
            fusion_layers=1,
        )
    )
    torch.nn.init.zeros_(model.heads.norm.weight)  # knows nothing
    model.heads.word_bias.data[test.tokenizer.convert_tokens_to_ids("on")] = 9
    found = study.loss_by_kind(model, test, test.pixel_values)
    assert found == study.loss_by_kind(model, test, None)
    total = torch.tensor(9.0).exp() + V - 1
    assert found["colour"] == pytest.approx(total.log().item(), abs=1e-4)
    # "on" is the one word that it knows, and a function word
    assert found["function"] < found["colour"] - 1


def test_hidden_patches_lie_around_the_sticker(pairs):
    _, test = pairs
    mask = study.around_the_sticker(test, 6, 0.5)
    assert mask.shape == (30, 36) and mask.sum(1).eq(18).all()
    boxes = test.boxes[:, 0]
    middle = (6 * (boxes[:, :2] + boxes[:, 2:]) / 2).long().clamp(max=5)
    assert mask[torch.arange(30), 6 * middle[:, 1] + middle[:, 0]].all()
    assert not study.around_the_sticker(test, 6, 0).any()


def test_patch_errors_average_to_the_loss(pairs):
    _, test = pairs
    pixels, mask = test.pixel_values, study.around_the_sticker(test, 4, 0.5)
    gray = torch.zeros(30, 16, 432)
    errors = study.patch_errors(gray, pixels, mask, 12)
    loss = masked_image_loss(gray, pixels, mask, 12, normalize=False)
    assert errors.mean() == pytest.approx(loss.item(), rel=1e-5)
    truth = patchify(pixels, 12)
    assert study.patch_errors(truth, pixels, mask, 12).abs().max() == 0


def test_the_plain_painter_takes_the_mean_of_what_it_sees():
    pixels = torch.zeros(1, 3, 4, 4)
    pixels[0, 0, :2, :2] = 1.0  # one red patch of four
    pixels[0, 1, 2:, 2:] = 7.0  # hidden: must not count
    mask = torch.tensor([[False, False, False, True]])
    painted = study.mean_of_the_rest(pixels, mask, 2)
    assert painted.shape == (1, 4, 12)
    expected = torch.tensor([1 / 3, 0, 0]).repeat(4)
    assert torch.allclose(painted[0, 3], expected)


def test_other_colour_changes_the_disc_and_nothing_else(pairs):
    caption = "a big lion on a red disc, on a red background"
    other = study.other_color(caption)
    assert other == "a big lion on an orange disc, on a red background"
    _, test = pairs
    ids = to_ids(test.tokenizer, [study.other_color(c) for c in test.captions])
    changed = (ids != test.input_ids[:, : ids.shape[1]]).sum(1)
    assert changed.min() >= 1 and changed.max() <= 2  # and the article


def test_half_of_a_batch_reads_without_its_picture(pairs):
    """Other pictures change what the looking half pays, and contrast."""
    train, _ = pairs
    model = study.new_model(len(train.tokenizer))
    batch = train.batch(range(8))

    def losses():
        with torch.no_grad():
            found = study.reader_loss(model, batch, torch.Generator().manual_seed(0))
        return {name: value.item() for name, value in found.items()}

    first = losses()
    batch.pixel_values = batch.pixel_values.flip(0)
    second = losses()
    assert first["blind"] == second["blind"]
    assert first["looks"] != second["looks"]
    assert first["contrast"] != second["contrast"]


def test_a_writer_sees_no_later_word_and_a_reader_does(pairs):
    ids = pairs[0].input_ids[:2]
    other = ids.clone()
    other[:, 3] = other[:, 3] % 7 + 5  # another word in the fourth place
    for causal in (True, False):
        model = study.new_model(len(pairs[0].tokenizer), causal)
        with torch.no_grad():
            a, b = (
                model.word_logits(None, model.text_tokens(x), x) for x in (ids, other)
            )
        assert torch.allclose(a[:, :3], b[:, :3], atol=1e-5) == causal
    terms = study.writer_loss(
        study.new_model(len(pairs[0].tokenizer), True), pairs[0].batch(range(4))
    )
    assert set(terms) == {"contrast", "captions"}
    # untrained: near ln V, and twice the weight
    assert terms["captions"].item() > 1.6 * torch.tensor(len(pairs[0].tokenizer)).log()
