"""A word tokenizer: one token a word, as long as the words are known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import PreTrainedTokenizerFast

# 0 is padding everywhere in the course.
SPECIAL = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
PAD, UNKNOWN, START, END, MASK = range(5)
LOWER = normalizers.BertNormalizer(lowercase=True)
SPLIT = pre_tokenizers.BertPreTokenizer()


def word_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer that knows the words of ``texts``: ``<s> words </s>``.

    Lower case, punctuation apart; an unknown word becomes ``<unk>``.  The
    order of the vocabulary is alphabetical, so that it hangs on nothing else.
    """
    words = {
        word
        for text in texts
        for word, _ in SPLIT.pre_tokenize_str(LOWER.normalize_str(text))
    }
    rows = [*SPECIAL, *sorted(words - set(SPECIAL))]
    ids = {word: i for i, word in enumerate(rows)}
    model = models.WordLevel(ids, unk_token="<unk>")
    return sentence_tokenizer(model, mask_token="<mask>")


def sentence_tokenizer(model: models.Model, **options) -> PreTrainedTokenizerFast:
    """Lower case, words and punctuation apart, then a model of words.

    Sentences come as ``<s> … </s>``; ``options`` go to the library's class.
    """
    tokenizer = Tokenizer(model)
    tokenizer.normalizer, tokenizer.pre_tokenizer = LOWER, SPLIT
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", START), ("</s>", END)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        **options,
    )


def to_ids(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> Tensor:
    """Texts → input_ids [M, L], padded with 0 to the longest."""
    if not texts:
        return torch.zeros(0, 2, dtype=torch.long)
    return tokenizer(list(texts), padding=True, return_tensors="pt")["input_ids"]


def to_text(tokenizer: PreTrainedTokenizerFast, ids: Tensor) -> str:
    """One row of ids [L] → its words, up to the end token."""
    words = []
    for token in ids.tolist():
        if token == END:
            break
        if token not in (PAD, START):
            words.append(tokenizer.convert_ids_to_tokens(token))
    return " ".join(words).replace(" ,", ",").replace(" .", ".")
