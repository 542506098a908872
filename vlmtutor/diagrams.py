"""Drawings of the frameworks, made from the models themselves.

What a box says (layers, parameters) is read off the model, so that a drawing
cannot go out of date.
"""

from __future__ import annotations

from dataclasses import dataclass

from .figures import PALETTE
from .models.blocks import count_parameters
from .models.frameworks import Framework, OneTower, TwoLeg
from .models.towers import ConvNet

LEFT, RIGHT, MIDDLE = 0.0, 2.0, 1.0  # columns: pictures, texts, both
COLORS = {
    "picture": PALETTE["sky"],
    "text": PALETTE["orange"],
    "both": PALETTE["green"],
    "score": "#ffffff",
}


@dataclass(frozen=True)
class Box:
    """``name`` is unique in a drawing; ``x``, ``y`` is the middle."""

    name: str
    text: str
    x: float
    y: float
    kind: str
    width: float = 1.7


def parts(model: Framework) -> tuple[list[Box], list[tuple[str, str]]]:
    """Boxes, and arrows (from, to) between their names."""
    boxes = [
        Box("picture", "picture", LEFT, 0, "picture"),
        Box("caption", "caption", RIGHT, 0, "text"),
    ]
    if isinstance(model, OneTower):
        tower = model.tower
        boxes += [
            Box("patches", _said("patches", model.image), LEFT, 1, "picture"),
            Box("words", _said("words", model.text), RIGHT, 1, "text"),
            Box("tower", _said(_blocks(tower), tower), MIDDLE, 2, "both", 3.7),
        ]
        arrows = [
            ("picture", "patches"),
            ("caption", "words"),
            ("patches", "tower"),
            ("words", "tower"),
        ]
        ends, fused, top = ("tower", "tower"), "tower", 3
    else:
        image, text = model.image, model.text
        boxes += [
            Box("image tower", _said(_encoder(image), image), LEFT, 1, "picture"),
            Box("text tower", _said(_blocks(text.transformer), text), RIGHT, 1, "text"),
        ]
        arrows = [("picture", "image tower"), ("caption", "text tower")]
        ends, fused, top = ("image tower", "text tower"), None, 2
    if isinstance(model, TwoLeg):
        fusion = model.fusion
        words = _said(f"fusion: {_blocks(fusion)}", fusion)
        boxes.append(Box("fusion", words, RIGHT, 2, "both"))
        arrows += [("text tower", "fusion"), ("image tower", "fusion")]
        fused, top = "fusion", 3
    alone = MIDDLE if fused is None else LEFT
    boxes.append(Box("similarity", "similarity", alone, top, "score"))
    arrows += [(end, "similarity") for end in dict.fromkeys(ends)]
    if fused is not None:
        boxes.append(Box("match", "match: yes or no", RIGHT, top, "score"))
        arrows.append((fused, "match"))
    return boxes, arrows


def draw(model: Framework, ax, title: str = "") -> None:
    """Draw a framework into matplotlib axes, inputs at the bottom."""
    from matplotlib.patches import FancyBboxPatch

    boxes, arrows = parts(model)
    places = {box.name: box for box in boxes}
    for start, end in arrows:
        a, b = places[start], places[end]
        # a wide box is entered and left straight above and below
        ax.annotate(
            "",
            xy=(a.x if b.width > a.width else b.x, b.y - 0.3),
            xytext=(b.x if a.width > b.width else a.x, a.y + 0.3),
            arrowprops={"arrowstyle": "-|>", "color": "black"},
        )
    for box in boxes:
        ax.add_patch(
            FancyBboxPatch(
                (box.x - box.width / 2, box.y - 0.26),
                box.width,
                0.52,
                boxstyle="round,pad=0.03",
                facecolor=COLORS[box.kind],
                edgecolor="black",
                alpha=0.9,
            )
        )
        ax.text(box.x, box.y, box.text, ha="center", va="center", fontsize=9)
    ax.set(xlim=(-1.05, 3.05), ylim=(-0.45, 3.45), title=title)
    ax.set_axis_off()


def _blocks(transformer) -> str:
    n = len(transformer.blocks)
    return f"{n} block" if n == 1 else f"{n} blocks"


def _encoder(image) -> str:
    if isinstance(image, ConvNet):
        return f"{len(image.layers)} residual layers"
    return _blocks(image.transformer)


def _said(text: str, part) -> str:
    return f"{text}\n{count_parameters(part) / 1e6:.2f} M"
