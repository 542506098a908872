"""Regions in their picture: where names stand, and what a caption says."""

import numpy as np
import pytest
import torch

from vlmtutor import figures, named_regions

NAMES = ["cat", "dog"]
GROUND = len(NAMES)


@pytest.fixture
def scene():
    """A grey picture, and a map: a cat on the left, a dog that is too small."""
    labels = np.full((48, 48), GROUND)
    labels[10:40, 2:22] = 0
    labels[44:46, 40:44] = 1
    return np.full((48, 48, 3), 90, np.uint8), labels


def written(monkeypatch):
    """What is written into pictures from now on."""
    said = []
    draw = named_regions.ImageDraw.ImageDraw.text

    def noted(self, place, text, *more, **style):
        said.append((text, place))
        return draw(self, place, text, *more, **style)

    monkeypatch.setattr(named_regions.ImageDraw.ImageDraw, "text", noted)
    return said


def test_a_name_stands_inside_its_region_and_small_ones_have_none(scene, monkeypatch):
    said = written(monkeypatch)
    picture = named_regions.named_regions(*scene, NAMES, size=192)
    assert picture.size == (192, 192)
    ((text, (x, y)),) = said
    assert text == "cat"
    assert scene[1][int(y) // 4, int(x) // 4] == 0


def test_what_has_no_name_is_pale(scene):
    pixels = np.asarray(named_regions.named_regions(*scene, NAMES, size=48))
    assert pixels[2, 40].min() > 200
    assert pixels[38, 4].max() < 200


def test_names_do_not_cover_each_other(monkeypatch):
    said = written(monkeypatch)
    labels = np.full((48, 48), GROUND)
    labels[20:26], labels[26:32] = 0, 1
    grey = np.full((48, 48, 3), 90, np.uint8)
    named_regions.named_regions(grey, labels, NAMES, size=48)
    assert sorted(text for text, _ in said) == ["cat", "dog"]
    assert abs(said[0][1][1] - said[1][1][1]) >= named_regions.LETTERS


def test_iou_of_one_picture_counts_the_names_that_it_holds(scene):
    truth = scene[1]
    half = np.where(np.arange(48)[:, None] < 25, truth, GROUND)
    half[half == 1] = GROUND
    # the cat by half, the dog not at all
    assert named_regions.picture_iou(half, truth, 2) == pytest.approx(0.25)
    assert named_regions.picture_iou(truth, truth, 2) == 1


def test_the_truth_stands_above_the_answers(scene, monkeypatch):
    shown = {}

    def show(pictures, description, captions, columns, size):
        shown.update(n=len(pictures), captions=captions, columns=columns)

    monkeypatch.setattr(named_regions, "show", show)
    image, truth = (torch.as_tensor(x)[None] for x in scene)
    answers = {"model": truth, "blind": torch.full_like(truth, GROUND)}
    named_regions.show_regions(image, truth, answers, NAMES, "Two answers.")
    captions = ["truth", "model: IoU 100", "blind: IoU 0"]
    assert shown == {"n": 3, "captions": captions, "columns": 1}
    with pytest.raises(ValueError, match="2 maps of 1 pictures"):
        named_regions.show_regions(image, truth, {"x": [1, 2]}, NAMES, "No.")


def test_it_goes_through_show(scene, capsys):
    image, truth = (x[None] for x in scene)
    named_regions.show_regions(image, truth, {}, NAMES, "A cat.")
    assert "A cat." in capsys.readouterr().out
    assert named_regions.show is figures.show
