"""CoOp: learn the words around the class name.

Zhou et al. 2021, "Learning to Prompt for Vision-Language Models", arXiv
2109.01134.  Tuned: M context vectors before every class name (M·W numbers; or
M·W for each class with ``per_class``), by cross-entropy on a few labelled
pictures.  Simplified: the name stands at the end, never in the middle; AdamW
in place of SGD with warm-up; image features are cached, so no augmentation.
At this scale a random context loses to one that starts from words, which is
why words are the default here.
"""

from __future__ import annotations

from torch import Tensor, nn

from .base import Learner, tune
from .packed_prompts import encode_packed, pack
from .pictures import Pictures
from .prompts import CONTEXT, encode_prompts, prompt_tokens, start_context


class CoOp(Learner):
    """``context`` holds words to start from, or None for random vectors.

    ``packed``: the prompts of all classes stand in one row (the same embeddings
    up to rounding, sooner); contexts of each class's own never do.
    """

    def __init__(
        self,
        clip,
        classes,
        context: str | None = CONTEXT,
        per_class: bool = False,
        seed: int = 0,
        packed: bool = True,
    ):
        start = start_context(clip, context, seed=seed)  # [M, W]
        if per_class:
            start = start.repeat(len(classes), 1, 1)  # [C, M, W]
        self.per_class, self.n_context = per_class, start.shape[-2]
        self.in_one_row = packed and not per_class
        super().__init__(clip, classes)
        self.context = nn.Parameter(start)

    def set_classes(self, classes: list[str]) -> None:
        if self.per_class:
            self._refuse_new_classes(classes)
        super().set_classes(classes)
        self.tokens = prompt_tokens(self.clip, classes, self.n_context)
        self.packed = pack(self.tokens)

    def text_embeds(self) -> Tensor:
        """[C, D], L2-normalised."""
        if self.in_one_row:
            return encode_packed(self.clip, self.packed, self.context)
        return encode_prompts(self.clip, self.tokens, self.context)

    def logits(self, pictures: Pictures) -> Tensor:
        embeds = pictures.image_embeds
        return self.clip.logit_scale * embeds @ self.text_embeds().T


def fit(
    clip,
    pictures,
    labels,
    classes,
    seed: int = 0,
    *,
    context: str | None = CONTEXT,
    per_class: bool = False,
    steps: int = 100,
    lr: float = 3e-3,
    batch_size: int = 32,
    packed: bool = True,
) -> CoOp:
    """Tune a context on ``pictures`` with ``labels`` [N]."""
    learner = CoOp(clip, classes, context, per_class, seed, packed)
    return tune(learner, pictures, labels, steps, lr, batch_size, seed)
