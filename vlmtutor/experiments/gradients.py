"""Do the tasks of one network pull its heads the same way?

FreeSeg trains a task a step.  Where the gradients of two tasks have a cosine
below 0 on a head, a step of one undoes what the other's has done; where all
are above, what one network loses against a network a task has another reason.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..distill.bench.trial import Trial
from ..distill.methods import Info
from ..distill.parts.task_words import TASKS
from ..distill.pictures import BATCH, batched
from ..distill.segmentation.freeseg import FreeSeg, task_truth
from ..distill.supervision import Masked
from ..training import frozen

HEADS = ("mask_head", "pixel_head", "sticker_head", "blob_head", "object_head")
HEADS += ("name_head",)
PICTURES = 64  # that the gradients are taken on, the first ones


def task_cosines(trial: Trial, info: Info) -> dict:
    """{"gradients": cosines before training and after it}; of FreeSeg alone.

    {"step 0" or "last step": {"semantic, instance": {head: cosine}, …}}.
    """
    model = trial.model(info)
    if not isinstance(model, FreeSeg) or model.tuning:
        return {}
    arms = {"step 0": trial.model(info, **info.start), "last step": model}
    data = trial.bench.data(Masked)
    return {"gradients": {when: cosines(arm, data) for when, arm in arms.items()}}


def cosines(model: FreeSeg, data: Masked) -> dict[str, dict[str, float]]:
    """{"semantic, instance": {head: cosine}} and so on: of each two tasks."""
    n = min(PICTURES, len(data))
    labels, regions = data.labels[:n], data.regions[:n]
    pictures = data.pictures[:n].prepare("pixel_values")
    data = replace(data, pictures=pictures, labels=labels, regions=regions)
    found = {task: gradients(model, data, task) for task in TASKS}
    return {
        f"{a}, {b}": {
            head: round(float(F.cosine_similarity(x, found[b][head], dim=0)), 4)
            for head, x in found[a].items()
        }
        for a, b in itertools.combinations(TASKS, 2)
    }


def gradients(model: FreeSeg, data: Masked, task: str) -> dict[str, Tensor]:
    """Of one task's loss on all of ``data``, flat [P]: {head: gradient}."""
    net, names = model.proposer, data.names
    masks, kinds = task_truth(data, task, net.fine)
    weights = {head: [*getattr(net, head).parameters()] for head in HEADS}
    wanted = [p for own in weights.values() for p in own]
    sums = [torch.zeros_like(p) for p in wanted]
    for p in wanted:
        p.requires_grad_(True)
    try:
        with frozen(model.clip):
            for rows in batched(len(data), BATCH):
                part = data.pictures[rows]
                loss = model.loss(part, names, task, masks[rows], kinds[rows])
                for total, g in zip(
                    sums, torch.autograd.grad(loss, wanted), strict=True
                ):
                    total += g * len(part)
    finally:
        for p in wanted:
            p.requires_grad_(False)
    flat = iter(sums)
    return {
        head: torch.cat([next(flat).flatten() for _ in own])
        for head, own in weights.items()
    }
