"""What to learn beside CLIP's loss where pairs are few.

DeCLIP (Li et al. 2021, arXiv 2110.05208) adds three sources of supervision to
a pair: other views of the picture and other wordings of the text, which all
belong together; the picture itself (SimSiam); and the nearest text of others.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .contrastive import clip_loss


def views_loss(
    images: tuple[Tensor, ...],
    texts: tuple[Tensor, ...],
    logit_scale: Tensor | float,
    ignore: Tensor | None = None,
) -> Tensor:
    """The mean of CLIP's losses of every view with every wording.

    ``images`` and ``texts``: some [N, D] each, L2-normalised.  With views
    that are equal it is CLIP's loss.
    Source: Li et al. 2021, arXiv 2110.05208.
    """
    losses = [clip_loss(a, b, logit_scale, ignore) for a in images for b in texts]
    return torch.stack(losses).mean()


def simsiam_loss(
    predicted: tuple[Tensor, Tensor], embeds: tuple[Tensor, Tensor]
) -> Tensor:
    """Each view's prediction should be the other view's embedding.

    ``predicted`` and ``embeds``: two [N, D] each.  Minus the cosine, the mean
    of both ways; no gradient reaches ``embeds``, or all would be the same.
    Source: Chen and He 2020, arXiv 2011.10566.
    """
    first = F.cosine_similarity(predicted[0], embeds[1].detach(), dim=-1)
    second = F.cosine_similarity(predicted[1], embeds[0].detach(), dim=-1)
    return -(first.mean() + second.mean()) / 2


class TextQueue:
    """The latest text embeddings, ``size`` of them: first in, first out."""

    def __init__(self, size: int):
        self.size, self.embeds = size, None

    def push(self, text_embeds: Tensor) -> None:
        """Add [N, D]; the oldest leave."""
        text_embeds = text_embeds.detach()
        known = text_embeds[:0] if self.embeds is None else self.embeds
        self.embeds = torch.cat([known, text_embeds])[-self.size :]

    def nearest(self, text_embeds: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest of the queue for each text [N, D]: [N, D], and its row [N].

        An empty queue takes the texts in first.
        """
        if self.embeds is None:
            self.push(text_embeds)
        rows = (text_embeds.detach() @ self.embeds.T).argmax(1)
        return self.embeds[rows], rows


def nearest_loss(
    image_embeds: Tensor,
    nearest: Tensor,
    rows: Tensor,
    logit_scale: Tensor | float,
    ignore: Tensor | None = None,
) -> Tensor:
    """CLIP's loss with each text's nearest neighbour in its place.

    ``image_embeds`` and ``nearest`` [N, D], the neighbours' ``rows`` [N] in
    the queue: those of the same row are no negatives, nor what ``ignore``
    [N, N] leaves out.
    Source: Li et al. 2021, arXiv 2110.05208.
    """
    same = rows[:, None] == rows
    same = same if ignore is None else same | ignore
    return clip_loss(image_embeds, nearest, logit_scale, same)
