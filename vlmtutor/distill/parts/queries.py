"""A small decoder whose queries are proposals, asked one question at a time.

OV-DETR's (Zang et al. 2022, arXiv 2203.11876): a question, the vector of a
name or of a picture, is added to copies of the queries; copies of different
questions do not see each other, so each talks in a row of the batch of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...seeding import seeded_weights
from ..pictures import DensePictures, batched, taps
from .boxes import shifted
from .dense_student import READS
from .proposer import Decoder

ROUNDS = 2  # of looking, talking and thinking
WAVES = 4  # sines of each number of a box, and as many cosines


@dataclass(frozen=True)
class Replies:
    """What K queries of N pictures reply to R questions.

    ``match`` [N, R, K] logits, ``boxes`` [N, R, K, 4] in pixels, ``vectors``
    [N, R, K, D] of any length.
    """

    match: Tensor
    boxes: Tensor
    vectors: Tensor


def waves(boxes: Tensor, size: int) -> Tensor:
    """Where boxes [..., 4] lie, as sines and cosines: [..., 8 · WAVES]."""
    steps = torch.pi * 2.0 ** torch.arange(WAVES)
    turns = boxes[..., None] / size * steps
    return torch.cat([turns.sin(), turns.cos()], -1).flatten(-2)


class Asked(nn.Module):
    """``net(pictures, boxes, bins, questions)`` are :class:`Replies`.

    ``boxes`` [N, K, 4] and ``bins`` [N, K, F] of the proposals, ``questions``
    [N, R, width] of :meth:`question`.
    """

    def __init__(self, clip, features: int, width: int = 128, seed: int = 0):
        super().__init__()
        inputs = READS * clip.model.config.vision_config.hidden_size
        self.layers, self.size, self.width = taps(clip)[:READS], clip.image_size, width
        with seeded_weights(seed):
            self.tokens = nn.Linear(inputs, width)
            self.bins = nn.Linear(features, width)
            self.place = nn.Linear(8 * WAVES, width)
            self.ask = nn.ModuleDict(
                {kind: nn.Linear(clip.embed_dim, width) for kind in ("text", "image")}
            )
            self.decoders = nn.ModuleList(Decoder(width) for _ in range(ROUNDS))
            self.norm = nn.LayerNorm(width)
            self.match, self.shift = nn.Linear(width, 1), nn.Linear(width, 4)
            self.vector = nn.Linear(width, clip.embed_dim)
        nn.init.zeros_(self.shift.weight)
        nn.init.zeros_(self.shift.bias)

    def question(self, vectors: Tensor, image: Tensor) -> Tensor:
        """Vectors [..., D] of texts, or where ``image`` bool [...] of pictures."""
        text, picture = self.ask["text"](vectors), self.ask["image"](vectors)
        return torch.where(image[..., None], picture, text)

    def memory(self, pictures: DensePictures) -> Tensor:
        """What queries look at: [N, T, width]."""
        states = [pictures.hidden(k)[:, 1:] for k in self.layers]
        states = [F.layer_norm(h, h.shape[-1:]) for h in states]
        return self.tokens(torch.cat(states, -1))

    def states(
        self, memory: Tensor, boxes: Tensor, bins: Tensor, questions: Tensor
    ) -> Tensor:
        """Queries after they looked, talked and thought: [N, R, K, width].

        Arguments as of the module, ``memory`` [N, T, width].
        """
        x = self.bins(bins.float())[:, None] + questions[:, :, None]
        copies = x.shape[:3]  # [N, R, K]
        places = self.place(waves(boxes, self.size))[:, None]
        for decoder in self.decoders:
            first, second, third = decoder.norms
            y = (first(x) + places).flatten(1, 2)  # all look at one picture
            seen = decoder.look(y, memory, memory, need_weights=False)[0]
            x = x + seen.reshape(*copies, -1)
            own = second(x).flatten(0, 1)  # but talk within their copy
            y = (second(x) + places).flatten(0, 1)
            heard = decoder.talk(y, y, own, need_weights=False)[0]
            x = x + heard.reshape(*copies, -1)
            x = x + decoder.think(third(x))
        return self.norm(x)

    def forward(
        self, pictures: DensePictures, boxes: Tensor, bins: Tensor, questions: Tensor
    ) -> Replies:
        x = self.states(self.memory(pictures), boxes, bins, questions)
        moved = shifted(boxes[:, None], self.shift(x), self.size)
        return Replies(self.match(x)[..., 0], moved, self.vector(x))


@torch.no_grad()
def ask_all(net: Asked, pictures: DensePictures, found, questions: Tensor) -> Replies:
    """Replies to the same ``questions`` [R, width] in all pictures [N].

    ``found``: :class:`.box_regions.BoxRegions` of the pictures.
    """
    pictures.prepare()
    parts = []
    for rows in batched(len(pictures), 8):
        some = found.boxes[rows], found.bins[rows]
        own = questions.expand(len(some[0]), -1, -1)
        reply = net(pictures[rows], *some, own)
        parts.append((reply.match, reply.boxes, reply.vectors))
    return Replies(*map(torch.cat, zip(*parts, strict=True)))
