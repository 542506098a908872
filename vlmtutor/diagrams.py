"""Boxes and arrows: drawings of the course, made by code.

:func:`draw_boxes` draws any; :func:`paradigms` and :func:`frameworks` are the two
figures of the study.  What a box says of a model (layers, parameters) is read
off the model, so that a drawing cannot go out of date.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    "training": PALETTE["yellow"],
    "score": "#ffffff",
}
HEIGHT = 0.56  # of a box; rows are 1 apart


@dataclass(frozen=True)
class Box:
    """``name`` is unique in a drawing; ``x``, ``y`` is the middle.

    ``kind`` is a key of COLORS; what a box means must also stand in its text.
    """

    name: str
    text: str
    x: float
    y: float
    kind: str = "score"
    width: float = 1.7


Arrow = tuple[str, ...]  # from, to, and what is written beside it, if anything


def draw_boxes(ax, boxes: Iterable[Box], arrows: Iterable[Arrow], title="") -> None:
    """Draw boxes and the arrows between their names into matplotlib axes.

    Boxes of one row are joined side to side, others top to bottom.  Raises
    KeyError for an arrow to a name that no box has.
    """
    from matplotlib.patches import FancyBboxPatch

    boxes = list(boxes)
    places = {box.name: box for box in boxes}
    for start, end, *words in arrows:
        at, to = _ends(places[start], places[end])
        style = {"arrowstyle": "-|>", "color": "black"}
        ax.annotate("", xy=to, xytext=at, arrowprops=style)
        if words:
            middle = (at[0] + to[0]) / 2, (at[1] + to[1]) / 2
            pad = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            ax.text(*middle, words[0], ha="center", va="center", fontsize=8, bbox=pad)
    for box in boxes:
        ax.add_patch(
            FancyBboxPatch(
                (box.x - box.width / 2, box.y - HEIGHT / 2),
                box.width,
                HEIGHT,
                boxstyle="round,pad=0.03",
                facecolor=COLORS[box.kind],
                edgecolor="black",
            )
        )
        ax.text(box.x, box.y, box.text, ha="center", va="center", fontsize=9)
    edges = [(b.x - b.width / 2, b.x + b.width / 2) for b in boxes]
    low, high = min(e[0] for e in edges), max(e[1] for e in edges)
    heights = [b.y for b in boxes]
    ax.set(xlim=(low - 0.2, high + 0.2), title=title)
    ax.set_ylim(min(heights) - 0.45, max(heights) + 0.45)
    ax.set_axis_off()


def _ends(a: Box, b: Box) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where an arrow leaves ``a`` and enters ``b``: on their edges."""
    apart = abs(a.x - b.x) - (a.width + b.width) / 2
    if a.y == b.y or apart > 0.5:  # side to side
        way = 1 if b.x > a.x else -1
        left = a.x + way * (a.width / 2 + 0.05)
        return (left, a.y), (b.x - way * (b.width / 2 + 0.05), b.y)
    way = 1 if b.y > a.y else -1
    gap = way * (HEIGHT / 2 + 0.04)
    start, end = a.x, b.x
    if abs(a.x - b.x) < max(a.width, b.width) / 2:
        # straight above or below the narrow one
        start = end = a.x if a.width < b.width else b.x
    return (start, a.y + gap), (end, b.y - gap)


def paradigms():
    """From labels to pre-training to pairs: a figure of three lanes.

    The study's first figure, with what came before and after in the same
    picture.  Data stand on the left, the answer on the right.
    """
    import matplotlib.pyplot as plt

    train = "training, many steps"
    tune = "fine-tuning, fewer steps"
    ask = "zero-shot, no steps"
    lanes = {
        "1  labels alone": (("many labels", "picture"), train),
        "2  pre-training": (("pictures alone", "picture"), "pre-training", tune),
        "3  pictures with words": (
            ("pictures + captions", "both"),
            "pre-training",
            ask,
        ),
    }
    boxes, arrows = [], []
    for row, (data, *steps) in enumerate(lanes.values()):
        y = 2 * (len(lanes) - 1 - row)
        boxes.append(Box(f"{row} data", data[0], 0, y, data[1], 2.0))
        for k, step in enumerate(steps):
            x = 5.2 if len(steps) == 1 else 2.6 + 2.6 * k
            kind = "score" if step == ask else "training"
            boxes.append(Box(f"{row} {k}", step, x, y, kind, 2.2))
        boxes.append(Box(f"{row} end", "predictions", 7.6, y, "score", 1.6))
        names = [f"{row} data", *(f"{row} {k}" for k in range(len(steps)))]
        arrows += list(zip(names, [*names[1:], f"{row} end"], strict=True))
    boxes.append(Box("few", "few labels", 5.2, 3, "picture", 1.6))
    boxes.append(Box("names", "names as texts", 5.2, 1, "text", 1.6))
    arrows += [("few", "1 1"), ("names", "2 1")]
    figure, ax = plt.subplots(figsize=(9, 4))
    draw_boxes(ax, boxes, arrows)
    for row, title in enumerate(lanes):
        ax.text(-1.0, 4.45 - 2 * row, title, fontsize=10, weight="bold")
    ax.set_ylim(-0.5, 4.9)
    return figure


def zero_shot():
    """A picture and names in sentences, compared: no training for the task."""
    import matplotlib.pyplot as plt

    boxes = [
        Box("picture", "picture", 0, 1, "picture"),
        Box("names", "names in sentences", 0, 0, "text", 2.0),
        Box("image encoder", "image encoder", 2.7, 1, "picture"),
        Box("text encoder", "text encoder", 2.7, 0, "text"),
        Box("cosines", "cosines,\ntimes the scale", 5.4, 1, "both"),
        Box("rows", "classifier:\none row a name", 5.4, 0, "text"),
        Box("softmax", "softmax", 7.8, 1, "score", 1.3),
        Box("end", "probabilities", 10.0, 1, "score", 1.5),
    ]
    arrows = [
        ("picture", "image encoder"),
        ("names", "text encoder"),
        ("image encoder", "cosines"),
        ("text encoder", "rows"),
        ("rows", "cosines"),
        ("cosines", "softmax"),
        ("softmax", "end"),
    ]
    figure, ax = plt.subplots(figsize=(10, 2))
    draw_boxes(ax, boxes, arrows)
    return figure


def contrastive():
    """N pictures and N captions to one matrix, read along rows and columns."""
    import matplotlib.pyplot as plt

    boxes = [
        Box("pictures", "N pictures", 0, 2, "picture"),
        Box("captions", "N captions", 0, 0, "text"),
        Box("image encoder", "image encoder", 2.3, 2, "picture"),
        Box("text encoder", "text encoder", 2.3, 0, "text"),
        Box("images", "embeddings, N × D", 4.8, 2, "picture", 2.1),
        Box("texts", "embeddings, N × D", 4.8, 0, "text", 2.1),
        Box("matrix", "N × N cosines,\ntimes the scale", 4.8, 1, "both", 2.1),
        Box("rows", "rows: which caption?", 7.8, 2, "score", 2.4),
        Box("columns", "columns: which picture?", 7.8, 0, "score", 2.4),
        Box("loss", "mean: the loss", 7.8, 1, "training", 2.4),
    ]
    arrows = [
        ("pictures", "image encoder"),
        ("image encoder", "images"),
        ("captions", "text encoder"),
        ("text encoder", "texts"),
        ("images", "matrix"),
        ("texts", "matrix"),
        ("matrix", "rows"),
        ("matrix", "columns"),
        ("rows", "loss"),
        ("columns", "loss"),
    ]
    figure, ax = plt.subplots(figsize=(9, 3))
    draw_boxes(ax, boxes, arrows)
    return figure


def frameworks(models: Mapping[str, Framework]):
    """The study's second figure: one panel a framework, inputs at the bottom."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(models), figsize=(4 * len(models), 4))
    for ax, (name, model) in zip(axes, models.items(), strict=True):
        millions = count_parameters(model) / 1e6
        draw(model, ax, f"{name}, {millions:.2f} M parameters")
    return figure


def parts(model: Framework) -> tuple[list[Box], list[Arrow]]:
    """Boxes, and arrows (from, to) between their names."""
    boxes = [
        Box("picture", "picture", LEFT, 0, "picture"),
        Box("caption", "caption", RIGHT, 0, "text"),
    ]
    if isinstance(model, OneTower):
        tower = model.tower
        said = _said("one encoder", tower, _blocks(tower))
        boxes += [
            Box("patches", _said("patches", model.image), LEFT, 1, "picture"),
            Box("words", _said("words", model.text), RIGHT, 1, "text"),
            Box("tower", said, MIDDLE, 2, "both", 3.7),
        ]
        arrows = [("picture", "patches"), ("caption", "words")]
        arrows += [("patches", "tower"), ("words", "tower")]
        ends, fused, alone = ("tower",), "tower", (LEFT, 3)
    else:
        ends = ("image encoder", "text encoder")
        image = _said(ends[0], model.image, _inside(model.image))
        text = _said(ends[1], model.text, _blocks(model.text.transformer))
        boxes += [
            Box(ends[0], image, LEFT, 1, "picture"),
            Box(ends[1], text, RIGHT, 1, "text"),
        ]
        arrows = [("picture", ends[0]), ("caption", ends[1])]
        fused, alone = None, (MIDDLE, 2)
    if isinstance(model, TwoLeg):
        said = _said("fusion", model.fusion, _blocks(model.fusion))
        boxes.append(Box("fusion", said, RIGHT, 2, "both"))
        arrows += [(end, "fusion") for end in ends]
        fused, alone = "fusion", (LEFT, 2)
    boxes.append(Box("similarity", "similarity", *alone, "score"))
    arrows += [(end, "similarity") for end in ends]
    if fused is not None:
        boxes.append(Box("match", "match: yes or no", RIGHT, 3, "score"))
        arrows.append((fused, "match"))
    return boxes, arrows


def draw(model: Framework, ax, title: str = "") -> None:
    """Draw a framework into matplotlib axes, inputs at the bottom."""
    draw_boxes(ax, *parts(model), title)
    ax.set(xlim=(-1.05, 3.05), ylim=(-0.45, 3.45))


def _blocks(transformer) -> str:
    n = len(transformer.blocks)
    return f"{n} block" if n == 1 else f"{n} blocks"


def _inside(image) -> str:
    if isinstance(image, ConvNet):
        return f"{len(image.layers)} residual layers"
    return _blocks(image.transformer)


def _said(name: str, part, inside: str = "") -> str:
    millions = f"{count_parameters(part) / 1e6:.2f} M"
    return f"{name}\n{inside}, {millions}" if inside else f"{name}\n{millions}"
