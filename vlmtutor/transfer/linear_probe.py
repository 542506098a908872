"""Linear probe: logistic regression on frozen image features.

As in Radford et al. 2021, arXiv 2103.00020, appendix A.3: scikit-learn's
L-BFGS.  Tuned: a weight vector and a bias per class.  It never sees the class
names, so it starts from nothing where all other methods start from zero-shot.
The penalty 1/C is to be chosen on validation pictures (the paper sweeps 96
values).
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from .base import Learner
from .pictures import Pictures


class LinearProbe(Learner):
    """A linear classifier: ``weight`` [C, D] and ``bias`` [C]."""

    def __init__(self, clip, classes, weight: Tensor, bias: Tensor):
        super().__init__(clip, classes)
        self.weight = nn.Parameter(weight)  # [C, D]
        self.bias = nn.Parameter(bias)  # [C]

    def set_classes(self, classes: list[str]) -> None:
        self._refuse_new_classes(classes)
        super().set_classes(classes)

    def logits(self, pictures: Pictures) -> Tensor:
        return pictures.image_embeds @ self.weight.T + self.bias


def fit(
    clip,
    pictures,
    labels,
    classes,
    seed: int = 0,
    *,
    C: float = 1.0,
) -> LinearProbe:
    """Fit on ``pictures`` with ``labels`` [N]; ``seed`` changes nothing.

    A class without an example gets no probability.  Raises ValueError when
    there are fewer than two classes with examples.
    """
    from sklearn.linear_model import LogisticRegression

    embeds = Pictures.of(clip, pictures).image_embeds
    model = LogisticRegression(C=C, max_iter=1000)
    with warnings.catch_warnings():
        # One shot a class looks to scikit-learn like a regression.
        warnings.filterwarnings("ignore", message="The number of unique")
        model.fit(embeds.numpy(), torch.as_tensor(labels).numpy())
    coef = torch.tensor(model.coef_, dtype=torch.float32)
    intercept = torch.tensor(model.intercept_, dtype=torch.float32)
    if len(coef) == 1:  # of two classes scikit-learn scores the second
        coef = torch.cat([-coef / 2, coef / 2])
        intercept = torch.cat([-intercept / 2, intercept / 2])
    weight = torch.zeros(len(classes), embeds.shape[1])
    bias = torch.full((len(classes),), float("-inf"))
    seen = torch.from_numpy(model.classes_)
    weight[seen], bias[seen] = coef, intercept
    return LinearProbe(clip, classes, weight, bias)
