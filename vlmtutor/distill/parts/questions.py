"""What pictures are asked for in training: names and crops, there or not.

OV-DETR's conditional matching (Zang et al. 2022, arXiv 2203.11876).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .box_regions import Lesson
from .box_sets import Truth, truth_of

APART = 0.2  # overlap with the truth up to which a proposal has no name
UNNAMED = -1  # the name of a box that can be asked for by its crop alone


@dataclass(frozen=True)
class Questions:
    """R questions to each of N pictures.

    ``vectors`` [N, R, D]; ``image`` bool [N, R]: a crop's, or a text's;
    ``truth`` of N · R rows: the boxes that match, none where nothing does.
    """

    vectors: Tensor
    image: Tensor
    truth: Truth


@dataclass(frozen=True)
class Asking:
    """The boxes of N pictures by what they can be asked for.

    ``groups[n]``: (name, rows of the lesson [r]) each, the name a place among
    ``texts`` [C, D] or :data:`UNNAMED`; ``boxes`` [L, 4] and ``embeds``
    [L, D], CLIP's views, of the lesson's rows; ``shown[c]``: rows that show
    the name c.
    """

    groups: list[list[tuple[int, Tensor]]]
    boxes: Tensor
    embeds: Tensor
    texts: Tensor
    shown: list[Tensor]

    def ask(self, rows: Tensor, most: int, rng: torch.Generator) -> Questions:
        """``most`` questions to each of pictures ``rows`` [N], by luck.

        About what is there first, then about names that are not.
        """
        vectors, image, boxes = [], [], []
        for k in rows.tolist():
            for name, own in self.chosen(k, most, rng):
                vector, crop = self.said(name, own, rng)
                vectors.append(vector)
                image.append(crop)
                boxes.append(self.boxes[own])
        labels = [torch.zeros(len(own), dtype=torch.long) for own in boxes]
        vectors = torch.stack(vectors).unflatten(0, (len(rows), most))
        image = torch.tensor(image).unflatten(0, (len(rows), most))
        return Questions(vectors, image, truth_of(boxes, labels))

    def chosen(self, k: int, most: int, rng) -> list[tuple[int, Tensor]]:
        """``most`` groups of a picture: (name, rows [r]); r is 0 of absent names."""
        groups, nothing = self.groups[k], torch.zeros(0, dtype=torch.long)
        there = {name for name, _ in groups}
        absent = [c for c in range(len(self.texts)) if c not in there]
        order = torch.randperm(len(groups), generator=rng).tolist()
        some = [groups[i] for i in order[:most]]
        pool = [(c, nothing) for c in absent] or groups  # where all are there
        lots = torch.randint(len(pool), (most - len(some),), generator=rng)
        return some + [pool[i] for i in lots.tolist()]

    def said(self, name: int, rows: Tensor, rng) -> tuple[Tensor, bool]:
        """A vector [D] that asks for a name or for the box in ``rows`` [r].

        And whether it is a crop's: a name is asked for by its text or by the
        crop of any thing of that name, with equal chances.
        """
        if name == UNNAMED:
            return self.embeds[rows[0]], True
        shown, crop = self.shown[name], bool(torch.rand((), generator=rng) < 0.5)
        if crop and len(shown):
            row = int(torch.randint(len(shown), (), generator=rng))
            return self.embeds[shown[row]], True
        return self.texts[name], False


def unnamed_rows(lesson: Lesson) -> Tensor:
    """Rows [r] of a lesson that show no base thing: the surer half of them."""
    free = ~lesson.true & (lesson.overlap < APART)
    if not free.any():
        return free.nonzero()[:, 0]
    return (free & (lesson.quality >= lesson.quality[free].median())).nonzero()[:, 0]


def questions_of(
    lesson: Lesson, embeds: Tensor, texts: Tensor, base: int, listed: bool = False
) -> Asking:
    """What the pictures of a lesson can be asked for.

    ``embeds`` [L, D] of its rows, ``texts`` [C, D], the first ``base`` of
    them those of the boxes.  With ``listed`` boxes without a name are filed
    under what CLIP calls them, if that is a novel name; others are left out.
    """
    labels = torch.where(lesson.true, lesson.labels, -2)
    free = unnamed_rows(lesson)
    labels[free] = UNNAMED
    if listed:
        called = (embeds[free] @ texts.T).argmax(1)
        labels[free] = torch.where(called >= base, called, -2)
    groups = []
    for k in range(int(lesson.picture.max()) + 1):
        own = (lesson.picture == k) & (labels != -2)
        names = labels[own & (labels >= 0)].unique().tolist()
        named = [(c, (own & (labels == c)).nonzero()[:, 0]) for c in names]
        alone = (own & (labels == UNNAMED)).nonzero()[:, 0]
        groups.append(named + [(UNNAMED, row[None]) for row in alone])
    shown = [(labels == c).nonzero()[:, 0] for c in range(len(texts))]
    return Asking(groups, lesson.boxes, embeds, texts, shown)
