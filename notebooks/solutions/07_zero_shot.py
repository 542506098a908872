"""Solutions to the exercises of 07_zero_shot, with the reasons."""

import torch

import vlmtutor as vt
from vlmtutor.naming import text_classifier


def vote(prompts):
    """[C, K, D] of any length → classifier [C, D], rows of length 1.

    Without the first division a long sentence outvotes the others.
    """
    unit = prompts / prompts.norm(dim=-1, keepdim=True)
    mean = unit.mean(dim=1)  # [C, D]
    return mean / mean.norm(dim=-1, keepdim=True)


def box_of(mask):
    """[H, W] bool with some True → (x0, y0, x1, y1).

    The smallest and the largest row and column that hold something.
    """
    rows = mask.any(dim=1).nonzero()[:, 0]
    columns = mask.any(dim=0).nonzero()[:, 0]
    x0, x1 = int(columns.min()), int(columns.max()) + 1
    return x0, int(rows.min()), x1, int(rows.max()) + 1


SKETCHES = (
    "a pencil sketch of a {}",
    "a line drawing of a {}",
    "a {} drawn in black and white",
)


def sketch_words(clip, templates=SKETCHES, names=100, n=200):
    """Exercise 5: {split: (right with the course's templates, with own)}.

    ``n`` sketches of ``names`` categories a split, named among those.
    """
    world = vt.StickerWorld(size=96)
    kinds = [category.name for category in world.categories][:names]
    rows = [text_classifier(clip, kinds, t) for t in (vt.TEMPLATES, templates)]
    found = {}
    for split in ("val", "test"):
        scenes = [
            world.scene(seed, n=1, domain="sketch", categories=kinds)
            for seed in vt.seeds(split, n, 5000)
        ]
        truth = torch.tensor([kinds.index(s.objects[0].name) for s in scenes])
        embeds = clip.encode_images([s.image for s in scenes])
        right = ((embeds @ r.T).argmax(1) == truth for r in rows)
        found[split] = tuple(share.float().mean().item() for share in right)
    return found
