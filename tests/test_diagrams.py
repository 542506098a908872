"""Drawings say what the models are."""

import matplotlib.pyplot as plt
import pytest

from vlmtutor import diagrams
from vlmtutor.models.blocks import count_parameters
from vlmtutor.models.config import FrameworkConfig
from vlmtutor.models.frameworks import OneTower, TwoLeg, TwoTower


def model(kind, **sizes):
    sizes = {"image_layers": 2, "text_layers": 1, "fusion_layers": 1} | sizes
    return kind(FrameworkConfig(20, width=16, heads=2, **sizes))


@pytest.mark.parametrize("kind", [TwoTower, TwoLeg, OneTower])
def test_every_arrow_goes_up_between_boxes(kind):
    boxes, arrows = diagrams.parts(model(kind))
    places = {box.name: box for box in boxes}
    assert len(places) == len(boxes)
    for start, end in arrows:
        assert places[start].y < places[end].y
    reached = {end for _, end in arrows} | {"picture", "caption"}
    assert reached == set(places)
    spots = [(box.x, box.y) for box in boxes]
    assert len(set(spots)) == len(spots)


def test_pictures_and_words_meet_where_they_do():
    def into(kind, name):
        return {a for a, b in diagrams.parts(model(kind))[1] if b == name}

    assert into(TwoTower, "similarity") == {"image tower", "text tower"}
    assert into(TwoLeg, "fusion") == {"image tower", "text tower"}
    assert into(TwoLeg, "match") == {"fusion"}
    assert into(OneTower, "tower") == {"patches", "words"}


def test_numbers_are_those_of_the_model():
    two = model(TwoTower, image_layers=3)
    texts = {box.name: box.text for box in diagrams.parts(two)[0]}
    millions = count_parameters(two.image) / 1e6
    assert texts["image tower"] == f"3 blocks\n{millions:.2f} M"
    cnn = model(TwoTower, image_encoder="cnn")
    texts = {box.name: box.text for box in diagrams.parts(cnn)[0]}
    assert texts["image tower"].startswith("2 residual layers")
    assert texts["text tower"].startswith("1 block\n")


@pytest.mark.parametrize("kind", [TwoTower, TwoLeg, OneTower])
def test_a_drawing_fits_its_axes(kind):
    figure, ax = plt.subplots()
    diagrams.draw(model(kind), ax, "a title")
    boxes, arrows = diagrams.parts(model(kind))
    assert len(ax.patches) == len(boxes)
    assert len(ax.texts) == len(boxes) + len(arrows)
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    for box in boxes:
        assert x0 < box.x - box.width / 2 and box.x + box.width / 2 < x1
        assert y0 < box.y - 0.3 and box.y + 0.3 < y1
    plt.close(figure)
