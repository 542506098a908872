"""The sum that StickerCLIP minimises, term by term."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPModel

from ..objectives.alignment import multi_positive_loss, naming_loss, phrase_scores
from ..objectives.contrastive import clip_loss, siglip_loss
from ..precision import full_precision
from .config import PretrainConfig
from .data import Batch, Mosaics
from .forward import encode_images, encode_texts
from .teacher import TextTargets


class Trainer(nn.Module):
    """A CLIPModel with what only training needs.

    ``bank`` [C, D] holds a running mean of the picture embeddings of each
    category (from scenes with one kind of sticker), so that texts without a
    picture can learn too; ``to_teacher`` maps the text tower's state to the
    sentence encoder's space.  Neither is shipped.
    """

    def __init__(self, model: CLIPModel, classes: int, teacher_dim: int = 384):
        super().__init__()
        self.clip = model
        width = model.config.text_config.hidden_size
        self.to_teacher = nn.Linear(width, teacher_dim)
        self.bias = nn.Parameter(torch.tensor(-4.0))  # sigmoid loss only
        dim = model.config.projection_dim
        self.register_buffer("bank", torch.zeros(classes, dim))

    @torch.no_grad()
    def update_bank(self, image_embeds: Tensor, single: Tensor) -> None:
        for embed, label in zip(image_embeds, single.tolist(), strict=True):
            if label >= 0:
                self.bank[label] = 0.9 * self.bank[label] + 0.1 * embed

    def losses(
        self,
        batch: Batch,
        tokenizer,
        config: PretrainConfig,
        targets: TextTargets | None,
        rows: Tensor | None,
        mosaics: Mosaics | None = None,
    ) -> dict[str, Tensor]:
        """All terms of one step, unweighted, by name."""
        model = self.clip
        pixels = batch.pixels
        if mosaics is not None:
            pixels = torch.cat([pixels, mosaics.pixels])
        image_embeds, patch_embeds = encode_images(model, pixels)
        image_embeds = image_embeds[: len(batch.pixels)]
        # one run of the text tower for captions, phrases and free text
        texts = [*batch.captions]
        phrases = mosaics.phrases if mosaics is not None else batch.phrases
        if config.local_weight:
            texts += phrases
        if rows is not None:
            texts += [targets.texts[i] for i in rows.tolist()]
        embeds, states = encode_texts(model, tokenizer, texts)
        # similarities in fp32: bf16 has three digits, too few for a softmax
        with full_precision():
            return self._terms(
                batch,
                config,
                targets,
                rows,
                mosaics,
                image_embeds,
                patch_embeds,
                embeds,
                states,
            )

    def _terms(
        self,
        batch,
        config,
        targets,
        rows,
        mosaics,
        image_embeds,
        patch_embeds,
        embeds,
        states,
    ) -> dict[str, Tensor]:
        scale = self.clip.logit_scale.exp()
        B = len(batch.captions)
        phrases = mosaics.phrases if mosaics is not None else batch.phrases
        P = len(phrases) if config.local_weight else 0
        ignore = batch.same if config.mask_false_negatives else None
        terms = {}
        if config.loss == "sigmoid":
            terms["clip"] = siglip_loss(
                image_embeds, embeds[:B], scale, self.bias, ignore
            )
        else:
            terms["clip"] = clip_loss(image_embeds, embeds[:B], scale, ignore)
        if P:
            named = embeds[B : B + P]
            if mosaics is not None:
                patches = patch_embeds[B:]
                scores = quarter_scores(patches, named, scale, mosaics)
                terms["local"] = multi_positive_loss(scores, mosaics.present)
                terms["naming"] = quarter_naming(patches, named, scale, mosaics)
                if config.every_name:
                    scores = scale * named[: len(batch.present)]
                    terms["label"] = multi_positive_loss(
                        scores @ image_embeds.T, batch.present
                    )
            else:
                scores = phrase_scores(patch_embeds, named, scale)
                terms["local"] = multi_positive_loss(scores, batch.present)
        if rows is not None:
            free, state = embeds[B + P :], states[B + P :]
            self.update_bank(image_embeds.detach(), batch.single)
            seen = self.bank.norm(dim=-1) > 0
            logits = scale * free @ F.normalize(self.bank, dim=-1).T
            logits = logits.masked_fill(~seen, -1e4)
            opinion = targets.opinion(rows, len(self.bank)) * seen
            log_probs = logits.log_softmax(-1)
            terms["bank"] = -(opinion * log_probs).sum(-1).mean()
            ours = F.normalize(self.to_teacher(state), dim=-1)
            theirs = targets.embeds[rows]
            terms["teacher"] = (1 - (ours * theirs).sum(-1)).mean()
        return terms


def quarter_scores(
    patch_embeds: Tensor, phrases: Tensor, scale: Tensor, mosaics: Mosaics
) -> Tensor:
    """Phrase scores against every quarter of every mosaic: [P, 4 M]."""
    side = round(patch_embeds.shape[1] ** 0.5)
    grid = patch_embeds.unflatten(1, (side, side))  # [M, h, w, D]
    row, column = mosaics.split
    quarters = [
        part.flatten(1, 2)
        for band in (grid[:, :row], grid[:, row:])
        for part in (band[:, :, :column], band[:, :, column:])
    ]
    scores = [phrase_scores(q, phrases, scale) for q in quarters]
    return torch.stack(scores, dim=-1).flatten(1)  # [P, M, 4] → [P, 4 M]


def quarter_naming(
    patch_embeds: Tensor, phrases: Tensor, scale: Tensor, mosaics: Mosaics
) -> Tensor:
    """The quarters' sticker and background, named patch by patch."""
    M, T, D = patch_embeds.shape
    side = round(T**0.5)
    logits = scale * patch_embeds.reshape(M * T, D) @ phrases.T
    row, column = mosaics.split
    place = torch.arange(side)
    quarter = 2 * (place >= row).long()[:, None] + (place >= column).long()
    regions = torch.arange(M)[:, None] * 4 + quarter.flatten()  # [M, T]
    return naming_loss(logits, regions.flatten(), mosaics.present.T)


def total(terms: dict[str, Tensor], config: PretrainConfig) -> Tensor:
    """The weighted sum of the terms."""
    weights = {
        "clip": 1.0,
        "local": config.local_weight,
        "naming": config.naming_weight,
        "label": config.label_weight,
        "bank": config.bank_weight,
        "teacher": config.teacher_weight,
    }
    return sum(weights[name] * term for name, term in terms.items())
