"""The sum that StickerCLIP minimises, term by term."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPModel

from ..objectives.alignment import focal_loss, naming_loss, phrase_scores
from ..objectives.contrastive import clip_loss, multi_positive_loss, siglip_loss
from ..precision import full_precision
from .config import PretrainConfig
from .data import Batch, Mosaics, to_pixel_values
from .forward import Tokens, encode_images, encode_texts
from .spread import ALONE, Spread
from .teacher import TextTargets


class Trainer(nn.Module):
    """A CLIPModel with what only training needs.

    ``bank`` [C, D] holds a running mean of the picture embeddings of each
    category (from scenes with one kind of sticker), so that texts without a
    picture can learn too; ``to_teacher`` maps the text tower's state to the
    sentence encoder's space.  Neither is shipped.
    """

    def __init__(
        self,
        model: CLIPModel,
        classes: int,
        teacher_dim: int = 384,
        bias: float = -4.0,
    ):
        super().__init__()
        self.clip, self.tokens = model, None
        width = model.config.text_config.hidden_size
        self.to_teacher = nn.Linear(width, teacher_dim)
        self.bias = nn.Parameter(torch.tensor(bias))  # sigmoid loss only
        dim = model.config.projection_dim
        self.register_buffer("bank", torch.zeros(classes, dim))

    @torch.no_grad()
    def update_bank(self, image_embeds: Tensor, single: Tensor) -> None:
        """Each picture of one category moves its prototype a tenth of the way.

        Those of one batch count alike.  ``image_embeds`` [B, D]; ``single``
        [B] is the category, or -1.
        """
        own = F.one_hot(single.clamp(min=0), len(self.bank)).float()
        own = own * (single >= 0)[:, None]  # [B, C]
        counts = own.sum(0)[:, None]  # [C, 1]
        mean = own.T @ image_embeds / counts.clamp(min=1)
        self.bank.lerp_(mean, 1 - 0.9**counts)

    def losses(
        self,
        batch: Batch,
        tokenizer,
        config: PretrainConfig,
        targets: TextTargets | None,
        rows: Tensor | None,
        mosaics: Mosaics | None = None,
        spread: Spread = ALONE,
        crops: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """All terms of one step, unweighted, by name.

        ``crops``: what part of a larger picture each one, and then each
        mosaic, is taken for [B + M, 4].
        """
        parts = [batch.pixels] if mosaics is None else [batch.pixels, mosaics.pixels]
        pixels = to_pixel_values(torch.cat(parts))
        image_embeds, patch_embeds = encode_images(self.clip, pixels, crops)
        own = len(batch.pixels)
        image_embeds = spread.gather(image_embeds[:own], len(batch.captions))
        if not config.local_weight:
            patch_embeds = None
        elif mosaics is None:
            patch_embeds = spread.gather(patch_embeds, len(batch.captions))
        else:
            patch_embeds = spread.gather(patch_embeds[own:], config.mosaics)
        # one run of the text tower for captions, phrases and free text
        phrases = mosaics.phrases if mosaics is not None else batch.phrases
        texts = [*batch.captions, *(phrases if config.local_weight else [])]
        if rows is not None:
            texts += [targets.texts[i] for i in rows.tolist()]
        mine = [texts[i] for i in spread.rows(len(texts))]
        if self.tokens is None:
            self.tokens = Tokens(tokenizer)
        embeds, states = encode_texts(self.clip, tokenizer, mine, self.tokens)
        embeds = spread.gather(embeds, len(texts))
        # similarities in fp32: bf16 has three digits, too few for a softmax
        with full_precision(embeds.device.type):
            terms = self._matching(batch, config, image_embeds, embeds)
            free = len(texts) - (0 if rows is None else len(rows))
            if config.local_weight:
                named = embeds[len(batch.captions) : free]
                terms |= self._local(
                    batch, mosaics, config, image_embeds, patch_embeds, named
                )
            if rows is not None:
                states = spread.gather(states, len(texts))
                self.update_bank(image_embeds.detach(), batch.single)
                terms |= self._free_text(targets, rows, embeds[free:], states[free:])
            return terms

    def _matching(self, batch, config, image_embeds, embeds) -> dict[str, Tensor]:
        """Pictures [B, D] against captions: the first B of the texts."""
        scale = self.clip.logit_scale.exp()
        text_embeds = embeds[: len(batch.captions)]
        ignore = None if config.false_negatives == "none" else batch.same
        pair = image_embeds, text_embeds, scale
        if config.loss == "sigmoid" and config.focus:
            return {"clip": focal_pair_loss(*pair, self.bias, config.focus, ignore)}
        if config.loss == "sigmoid":
            return {"clip": siglip_loss(*pair, self.bias, ignore)}
        return {"clip": clip_loss(*pair, ignore)}

    def _local(
        self, batch, mosaics, config, image_embeds, patch_embeds, named
    ) -> dict[str, Tensor]:
        """Phrases [P, D] against patches [M, T, D], and against whole pictures."""
        scale = self.clip.logit_scale.exp()
        if mosaics is None:
            scores = phrase_scores(patch_embeds, named, scale)
            return {"local": multi_positive_loss(scores, batch.present)}
        scores = quarter_scores(patch_embeds, named, scale, mosaics)
        terms = {
            "local": multi_positive_loss(scores, mosaics.present),
            "naming": quarter_naming(
                patch_embeds, named, scale, mosaics, config.ground
            ),
        }
        if config.every_name:
            scores = scale * named[: len(batch.present)]
            terms["label"] = multi_positive_loss(scores @ image_embeds.T, batch.present)
        return terms

    def _free_text(self, targets, rows, embeds, states) -> dict[str, Tensor]:
        """Texts without a picture [R, D]: prototypes, and the teacher's view."""
        device, scale = embeds.device, self.clip.logit_scale.exp()
        seen = self.bank.norm(dim=-1) > 0
        logits = scale * embeds @ F.normalize(self.bank, dim=-1).T
        log_probs = logits.masked_fill(~seen, -1e4).log_softmax(-1)
        opinion = targets.opinion(rows, len(self.bank)).to(device) * seen
        ours = F.normalize(self.to_teacher(states), dim=-1)
        theirs = targets.embeds[rows].to(device).float()
        return {
            "bank": -(opinion * log_probs).sum(-1).mean(),
            "teacher": (1 - (ours * theirs).sum(-1)).mean(),
        }


def focal_pair_loss(
    image_embeds: Tensor,
    text_embeds: Tensor,
    logit_scale: Tensor | float,
    logit_bias: Tensor | float,
    focus: float,
    ignore: Tensor | None = None,
) -> Tensor:
    """Each pair of [B, D] and [B, D] a yes or no; what is sure counts little.

    Summed over the pairs of a picture, averaged over the pictures; ``ignore``
    bool [B, B] leaves out pairs, never the diagonal; ``focus`` 0 is SigLIP's
    loss.  RO-ViT: Kim et al. 2023, arXiv 2305.07011.
    """
    logits = logit_scale * image_embeds @ text_embeds.T + logit_bias
    pairs = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    counted = torch.ones_like(pairs) if ignore is None else ~ignore | pairs
    mean = focal_loss(logits, pairs, counted, alpha=0.5, gamma=focus)
    return 2 * mean * counted.sum() / len(logits)


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
    patch_embeds: Tensor,
    phrases: Tensor,
    scale: Tensor,
    mosaics: Mosaics,
    ground: float = 0.5,
) -> Tensor:
    """The quarters' sticker and background, named patch by patch.

    ``ground`` is the weight of the background, the share of a quarter's
    patches that it should have: at a half, names spread over what surrounds
    their sticker.
    """
    M, T, D = patch_embeds.shape
    side = round(T**0.5)
    logits = scale * patch_embeds.reshape(M * T, D) @ phrases.T
    row, column = mosaics.split
    place = torch.arange(side, device=logits.device)
    quarter = 2 * (place >= row).long()[:, None] + (place >= column).long()
    first = 4 * torch.arange(M, device=logits.device)[:, None]
    regions = first + quarter.flatten()  # [M, T]
    things = mosaics.present.T.clone()  # [4 M, P]
    grounds = mosaics.present.T.clone()
    grounds[:, : len(phrases) - mosaics.places] = False
    things &= ~grounds
    return sum(
        weight * naming_loss(logits, regions.flatten(), held)
        for weight, held in ((1 - ground, things), (ground, grounds))
    )


def total(terms: dict[str, Tensor], config: PretrainConfig, step: int = 0) -> Tensor:
    """The weighted sum of the terms at a step."""
    weights = {
        "clip": 1.0,
        "local": config.local_weight,
        "naming": config.naming_at(step),
        "label": config.label_weight,
        "bank": config.bank_weight,
        "teacher": config.teacher_weight,
    }
    return sum(weights[name] * term for name, term in terms.items())
