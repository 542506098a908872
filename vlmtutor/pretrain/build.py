"""An untrained StickerCLIP: tokenizer, image processor, CLIPModel."""

from __future__ import annotations

import re

import torch
from tokenizers import models
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from ..models.words import sentence_tokenizer
from ..seeding import seeded_weights
from ..world import backgrounds, captions, load_categories
from .config import PretrainConfig

# transformers pools the first EOS token unless its id is 2, which switches
# to a legacy rule: so EOS is 3.
SPECIAL = ("<pad>", "<unk>", "<s>", "</s>")
IMAGE_MEAN, IMAGE_STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def training_texts() -> list[str]:
    """All words of the table that training may see."""
    texts = []
    for c in load_categories():
        texts += [c.name, c.one, c.many, *c.synonyms, *c.descriptions]
        texts += c.memes
    texts += [*backgrounds.PHRASES.values(), *backgrounds.COLORS]
    texts += [*captions.OPENINGS, *captions.NUMBERS.values()]
    texts.append(
        "disc circle big small on a an to the left right of above below in"
        " top bottom middle and many"
    )
    return texts


def build_vocabulary(common_words: list[str], size: int) -> list[str]:
    """Special tokens, letters, common words, then the table's own words."""
    letters = [chr(c) for c in range(33, 127) if not chr(c).isupper()]
    own = sorted(
        {
            word
            for text in training_texts()
            for word in re.findall(r"[a-z]+|[0-9]+", text.lower())
        }
    )
    pieces = [w for w in common_words if w.startswith("##")][:1500]
    words = [w for w in common_words if re.fullmatch("[a-z]{2,}", w)][:size]
    rows = [*SPECIAL, *letters, *(f"##{c}" for c in letters)]
    return list(dict.fromkeys([*rows, *own, *words, *pieces]))


def build_tokenizer(
    common_words: list[str], config: PretrainConfig
) -> PreTrainedTokenizerFast:
    """A lower-casing WordPiece tokenizer: ``<s> words </s>``."""
    vocabulary = build_vocabulary(common_words, config.vocabulary)
    ids = {token: i for i, token in enumerate(vocabulary)}
    model = models.WordPiece(ids, unk_token="<unk>")
    return sentence_tokenizer(model, model_max_length=config.text_length)


def build_model(
    config: PretrainConfig, vocabulary_size: int, image_size: int
) -> CLIPModel:
    """A CLIPModel with fresh weights, drawn from ``config.seed``."""
    text = {
        "vocab_size": vocabulary_size,
        "hidden_size": config.text_width,
        "intermediate_size": 4 * config.text_width,
        "num_hidden_layers": config.text_layers,
        "num_attention_heads": config.text_width // 32,
        "max_position_embeddings": config.text_length,
        "hidden_act": "gelu",
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
    }
    vision = {
        "hidden_size": config.vision_width,
        "intermediate_size": 4 * config.vision_width,
        "num_hidden_layers": config.vision_layers,
        "num_attention_heads": config.vision_width // config.vision_head,
        "image_size": image_size,
        "patch_size": config.patch_size,
        "hidden_act": "gelu",
    }
    shape = CLIPConfig(
        text_config=text, vision_config=vision, projection_dim=config.embed_dim
    )
    with seeded_weights(config.seed):
        return CLIPModel(shape)


def resize_positions(model: CLIPModel, image_size: int) -> CLIPModel:
    """The same model for another canvas: positions are interpolated."""
    config = model.config.to_dict()
    config["vision_config"]["image_size"] = image_size
    resized = CLIPModel(CLIPConfig(**config))
    weights = model.state_dict()
    key = "vision_model.embeddings.position_embedding.weight"
    old = weights[key]  # [1 + T, D], the class token first
    side = round((len(old) - 1) ** 0.5)
    new_side = image_size // model.config.vision_config.patch_size
    grid = old[1:].T.reshape(1, -1, side, side)
    grid = torch.nn.functional.interpolate(
        grid, size=(new_side, new_side), mode="bicubic", align_corners=False
    )
    weights[key] = torch.cat([old[:1], grid.reshape(old.shape[1], -1).T])
    ids = "vision_model.embeddings.position_ids"
    if ids in weights:
        weights[ids] = torch.arange(1 + new_side**2)[None]
    resized.load_state_dict(weights)
    return resized
