"""Every knob of pre-training, in one place, and the two recipes."""

from __future__ import annotations

from dataclasses import dataclass

POSITIONS = ("whole", "cropped")


@dataclass(frozen=True)
class PretrainConfig:
    """The recipe.  Lengths in pixels, shares from 0 to 1."""

    # the model
    vision_width: int = 192
    vision_layers: int = 6
    vision_head: int = 32  # width of one attention head
    patch_size: int = 8
    text_width: int = 160
    text_layers: int = 3
    text_length: int = 48  # tokens
    embed_dim: int = 192
    vocabulary: int = 10_000  # common words; the table's words come on top

    # the data
    first_size: int = 64  # canvas while learning most
    final_size: int = 96  # canvas of the shipped model
    final_share: float = 0.25  # of all steps, at the final canvas
    batch_size: int = 64
    curriculum: float = 0.1  # share of steps with mostly single stickers
    single_share: float = 0.45  # scenes with one sticker after that
    meme_share: float = 0.2
    description_share: float = 0.15
    augment: float = 1.0  # strength of colour, blur and noise changes
    crop: float = 1.0  # least share of a scene that is kept; its caption stays
    every_category: int = 1  # 4 keeps every fourth one, for short searches
    posed_share: float = 0.0  # scenes with a large thing, two, or tilted ones
    line_share: float = 0.0  # of those of two things: one line about both
    place_share: float = 0.4  # captions that say where it is
    corpus: str = ""  # folder of the texts that people wrote, or "none"
    free_texts: int = 300_000  # texts without a picture, a fifth made up

    # the objectives
    loss: str = "softmax"  # or "sigmoid"
    bias: float = -4.0  # of the sigmoid, at first
    focus: float = 0.0  # of the sigmoid: how much less a pair that is sure counts
    # a picture's patches stand where they are, or (RO-ViT: Kim et al. 2023,
    # arXiv 2305.07011) where they would in a part of a larger picture
    positions: str = "whole"  # or "cropped"
    # captions that may stand for each other are no negatives: those of scenes
    # with the same "kinds" of stickers, equal "captions", or "none"
    false_negatives: str = "kinds"
    local_weight: float = 1.0  # phrases against patches
    # of the things that are there, in words of the "table", or of the "caption":
    # it is cut by its commas and "and"s, so that nothing else is told
    phrases: str = "table"
    mosaics: int = 16  # pictures of 2 x 2 scenes for the local loss
    naming_weight: float = 0.5  # patches of a mosaic compete for phrases
    naming_growth: float = 1.0  # times that in the second half of the run
    ground: float = 0.5  # weight of the place among the two names of a quarter
    every_name: bool = True  # all categories as negatives, not the batch's
    label_weight: float = 0.5  # pictures against every category's phrase
    bank_weight: float = 0.5  # free text against picture prototypes
    teacher_weight: float = 0.5  # the sentence encoder's embedding
    text_batch: int = 96

    # the optimiser
    steps: int = 10_000
    lr: float = 1e-3
    warmup: int = 200
    weight_decay: float = 0.05
    average: float = 0.999  # decay of the weight average; 0 for none
    bf16: bool = True
    seed: int = 0

    def __post_init__(self):
        if self.positions not in POSITIONS:
            raise ValueError(f"positions are {POSITIONS}, not {self.positions!r}")

    def naming_at(self, step: int) -> float:
        """The weight of the naming loss at a step."""
        late = step >= self.steps / 2
        return self.naming_weight * (self.naming_growth if late else 1)


# As OpenAI's CLIP: pictures and captions, and nothing else.  No word of where a
# thing is, no name that is not in a caption, no free text, no teacher.
PAIRS_ONLY = {
    "local_weight": 0.0,
    "naming_weight": 0.0,
    "label_weight": 0.0,
    "bank_weight": 0.0,
    "teacher_weight": 0.0,
    "mosaics": 0,
    "every_name": False,
    "false_negatives": "captions",
}
# Told more than pairs: see the card.  Meant for an accelerator; smaller batches
# want a smaller ``lr``, and mosaics and free texts in proportion.
STICKERCLIP = {
    "text_width": 256,
    "text_layers": 4,
    "vocabulary": 14_000,
    "final_share": 0.6,
    "batch_size": 384,
    "mosaics": 48,
    "text_batch": 1024,
    "meme_share": 0.12,
    "description_share": 0.12,
    "posed_share": 0.35,
    "line_share": 0.4,
    "place_share": 0.5,
    "naming_growth": 2.0,
    "ground": 0.75,
    "bank_weight": 1.0,
    "teacher_weight": 2.0,
    "steps": 6200,
    "lr": 1.5e-3,
}
PAIRCLIP = {
    **PAIRS_ONLY,
    "text_width": 256,
    "text_layers": 4,
    "vocabulary": 14_000,
    "final_share": 0.6,
    "batch_size": 384,
    "meme_share": 0.12,
    "description_share": 0.12,
    "single_share": 0.3,
    "steps": 4100,
    "lr": 1.5e-3,
}
RECIPES = {
    "stickerclip": PretrainConfig(**STICKERCLIP),
    "pairclip": PretrainConfig(**PAIRCLIP),
    # the same pairs; parts of a caption are also sought among the patches
    "phraseclip": PretrainConfig(
        **PAIRCLIP | {"local_weight": 1.0, "phrases": "caption"}
    ),
}
