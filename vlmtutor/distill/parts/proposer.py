"""Masks without names: a small MaskFormer that groups pixels into regions.

A few queries, each starting from its own place of the picture, look at a
feature map and answer with a mask and whether it is an object at all; truth
and queries are matched one to one.  With names, each query also gives a vector
that is compared with frozen text embeddings, trained together with the masks.
Cheng, Schwing and Kirillov 2021, "Per-Pixel Classification is Not All You Need
for Semantic Segmentation", arXiv 2107.06278; matching after Carion et al.
2020, arXiv 2005.12872.  Simplified, so that a few hundred pictures and a
hundred steps are enough: the features are those of the student, sharpened by
edges of the pixels; queries start from a grid of places; a mask is the sum of
what all share (sticker or not), of a blob that the query moves and stretches,
and of what the query asks of each pixel; every other step looks at mirrored
pictures.  A query's vector starts as CLIP's mean patch in its mask, and
training adds to it: learned from chance on twenty names, it finds no others.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.inside import as_tokens
from ...seeding import seeded_weights
from ...training import descend
from ..pictures import DensePictures, once
from ..supervision import IGNORE, Masked, Regions
from .matching import Outputs, group_loss, match, matching_costs, name_loss
from .near_map import SharpTrunk
from .regions import instance_masks, mask_pool, region_labels
from .texts import text_classifier

STEPS = 150  # of training
ROUNDS = 2  # of looking, talking and thinking
BLOB = 0.15  # how wide a query's blob is at first, as a share of the picture


class Decoder(nn.Module):
    """One round: queries look at the map, at each other, and think.

    [N, Q, d] → [N, Q, d]; ``places`` [Q, d] are theirs, ``memory``
    [N, h · w, d] is the map.
    """

    def __init__(self, width: int, heads: int = 4):
        super().__init__()
        self.look = nn.MultiheadAttention(width, heads, batch_first=True)
        self.talk = nn.MultiheadAttention(width, heads, batch_first=True)
        self.think = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, x: Tensor, places: Tensor, memory: Tensor) -> Tensor:
        a, b, c = self.norms
        y = a(x) + places
        x = x + self.look(y, memory, memory, need_weights=False)[0]
        y = b(x) + places
        x = x + self.talk(y, y, b(x), need_weights=False)[0]
        return x + self.think(c(x))


class Proposer(SharpTrunk):
    """``proposer(pictures)`` are :class:`Outputs`; CLIP is no submodule."""

    def __init__(
        self,
        clip,
        side: int = 4,
        width: int = 64,
        named: bool = False,
        near: bool = True,
        seed: int = 0,
    ):
        with seeded_weights(seed):
            super().__init__(clip, width)
            self.side, self.trained_at = side, None  # when, for how many seconds
            self.decoders = nn.ModuleList(Decoder(width) for _ in range(ROUNDS))
            self.norm = nn.LayerNorm(width)
            self.mask_head = nn.Sequential(
                nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
            )
            self.pixel_head = nn.Conv2d(width, width, 1)
            self.sticker_head = nn.Conv2d(width, 1, 1)
            self.blob_head = nn.Linear(width, 3)
            nn.init.zeros_(self.blob_head.weight)
            nn.init.zeros_(self.blob_head.bias)
            self.object_head = nn.Linear(width, 1)
            self.name_head = None
            if named:
                self.name_head = nn.Linear(width, clip.embed_dim)
                if near:
                    nn.init.zeros_(self.name_head.weight)
                    nn.init.zeros_(self.name_head.bias)
            self.near = near

    @property
    def queries(self) -> int:
        """How many regions it can propose."""
        return self.side**2

    def blobs(self, states: Tensor) -> Tensor:
        """A logit that falls with the distance from a place: [N, Q, h, w].

        Each query says how far its place lies from its cell of the grid, and
        how wide the blob is.
        """
        across, down, width = self.blob_head(states)[..., None, None].unbind(2)
        cells = (torch.arange(self.side) + 0.5) / self.side
        y0, x0 = torch.meshgrid(cells, cells, indexing="ij")
        x = x0.reshape(-1, 1, 1) + 0.25 * across.tanh()  # [N, Q, 1, 1]
        y = y0.reshape(-1, 1, 1) + 0.25 * down.tanh()
        fine = (torch.arange(self.fine) + 0.5) / self.fine
        square = (fine[None, :] - x) ** 2 + (fine[:, None] - y) ** 2
        spread = BLOB * width.clamp(-2, 2).exp()
        return (2 - square / (2 * spread**2)).clamp(min=-8)

    def asking(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Queries before they look [N, Q, d], and their places [Q, d]."""
        x = as_tokens(F.adaptive_avg_pool2d(features, self.side))
        return x, as_tokens(F.adaptive_avg_pool2d(self.where, self.side))[0]

    def drawn(self, states: Tensor, features: Tensor) -> Tensor:
        """What queries ask of each pixel [N, d, h, w]: [N, Q, h, w]."""
        pixels = self.pixel_head(features)
        asked = torch.einsum("nqd,ndhw->nqhw", self.mask_head(states), pixels)
        return asked / pixels.shape[1] ** 0.5

    def masks(self, states: Tensor, features: Tensor) -> Tensor:
        """Logits [N, Q, h, w] of queries [N, Q, d] on sharp features."""
        shared = self.sticker_head(features) + self.blobs(states)
        return shared + self.drawn(states, features)

    def forward(self, pictures: DensePictures) -> Outputs:
        features = self.features(pictures)
        memory = as_tokens(F.avg_pool2d(features, 2))
        x, places = self.asking(features)
        for decoder in self.decoders:
            x = decoder(x, places, memory)
        states = self.norm(x)
        masks = self.masks(states, self.sharpened(features, pictures))
        vectors = None
        if self.name_head is not None:
            vectors = self.name_head(states)
            if self.near:
                inside = masks.detach().sigmoid()
                vectors = vectors + mask_pool(pictures.dense, inside)
            vectors = F.normalize(vectors, dim=-1)
        return Outputs(masks, self.object_head(states)[..., 0], states, vectors)


def train_proposer(
    clip,
    data: Regions | Masked,
    *,
    names: list[str] | None = None,
    steps: int = STEPS,
    batch_size: int = 16,
    seed: int = 0,
    **sizes,
) -> Proposer:
    """Learn to group from class-agnostic regions.

    With ``names`` (the data being :class:`Masked`, whose names they are) the
    queries' vectors learn them too: cosines with the names' texts, and with a
    learned vector for no object, times CLIP's scale.
    """
    proposer = Proposer(clip, named=names is not None, seed=seed, **sizes)
    fine = proposer.fine
    most = max(int(data.regions.max()) + 1, 1)
    truth = instance_masks(data.regions, most)
    step = truth.shape[-1] // fine
    truth = truth[..., step // 2 :: step, step // 2 :: step]  # [N, R, h, w]
    exists = truth.flatten(2).any(2)
    labels = W = None
    nothing = nn.Parameter(torch.zeros(clip.embed_dim))
    if names is not None:
        labels = region_labels(data.labels, instance_masks(data.regions, most))
        labels = labels.masked_fill(labels >= len(names), IGNORE)
        W = text_classifier(clip, names)
        with seeded_weights(seed):
            nn.init.normal_(nothing, std=0.1)
    data.pictures.prepare("pixel_values")
    parameters = [*proposer.parameters(), nothing]

    def loss(step: int, rows: Tensor) -> Tensor:
        pictures, there = data.pictures[rows], truth[rows]
        if step % 2:
            pictures, there = pictures.mirrored(), there.flip(-1)
        outputs = proposer(pictures)
        pairs = match(matching_costs(outputs, there), exists[rows])
        total = group_loss(outputs, there, pairs)
        if names is not None:
            total = total + name_loss(
                outputs.vectors, pairs, labels[rows], W, nothing, clip.logit_scale
            )
        return total

    sizes = {"steps": steps, "lr": 3e-3, "batch_size": batch_size}
    how = {"seed": seed, "clip_norm": 1.0, **sizes}
    proposer.trained_at = descend(parameters, loss, len(data), **how)
    proposer.nothing = nothing.detach()
    return proposer.requires_grad_(False)


def shared_proposer(
    clip, data: Regions | Masked, seed: int = 0, *, names=None, **settings
) -> Proposer:
    """:func:`train_proposer`, once for the same pictures and settings."""
    settings = {"steps": STEPS, **settings}
    key = "proposer", seed, names and tuple(names), repr(sorted(settings.items()))
    return once(
        data.pictures,
        key,
        lambda: train_proposer(clip, data, seed=seed, names=names, **settings),
    )
