"""How good is it?  One function a question.

Inputs are NumPy arrays, torch tensors or lists; results are floats between 0
and 1 unless told otherwise.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import numpy as np


def _array(values) -> np.ndarray:
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    return np.asarray(values)


def _nonempty(array: np.ndarray) -> np.ndarray:
    if array.size == 0:
        raise ValueError("nothing to score: the input is empty")
    return array


def _pair(a, b) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of one shape, not empty; ValueError otherwise."""
    a, b = _array(a), _array(b)
    if a.shape != b.shape:
        raise ValueError(f"the shapes differ: {a.shape} and {b.shape}")
    return _nonempty(a), b


def accuracy(predictions, labels, k: int = 1) -> float:
    """Share of right answers.

    ``predictions`` are labels [N], or scores [N, C], where an answer is right
    if its label is among the ``k`` best.  ``labels`` [N] are whole numbers.
    A class with the same score as the right one counts as better: a model
    that cannot tell classes apart gets 0.  Raises ValueError where the shapes
    do not fit.
    """
    predictions, labels = _array(predictions), _array(labels)
    if predictions.ndim != 2:
        predictions, labels = _pair(predictions, labels)
        return float(np.mean(predictions == labels))
    if len(predictions) != len(labels):
        raise ValueError(f"{len(predictions)} rows of scores, {len(labels)} labels")
    positives = np.zeros(predictions.shape, bool)
    positives[np.arange(len(labels)), labels] = True
    return recall_at_k(predictions, positives, k)


def recall_at_k(similarity, positives=None, k: int = 1) -> float:
    """Share of queries with a right item among the ``k`` most similar.

    ``similarity`` [N, M]: queries by items.  ``positives`` tells which items
    are right: bool [N, M] (any number a row), or indices [N]; by default item
    i belongs to query i.  Transpose for the other direction.  A wrong item
    with the same score as the best right one counts as better, so that ties
    never help.  A query without a right item, or a NaN, raises ValueError.
    """
    similarity = _nonempty(_array(similarity))
    if similarity.ndim != 2:
        raise ValueError(f"similarity is [N, M], got {similarity.shape}")
    if np.isnan(similarity).any():
        raise ValueError("similarity has NaN in it")
    if k < 1:
        raise ValueError(f"k is at least 1, got {k}")
    n, m = similarity.shape
    right = np.arange(n) if positives is None else _array(positives)
    if right.dtype != bool:
        if right.shape != (n,) or right.min() < 0 or right.max() >= m:
            raise ValueError(f"positives name one of {m} items for each query")
        right = right[:, None] == np.arange(m)
    if right.shape != similarity.shape:
        raise ValueError(f"similarity is {similarity.shape}, positives {right.shape}")
    if not right.any(axis=1).all():
        raise ValueError("a query has no right item")
    best = np.where(right, similarity, -np.inf).max(axis=1, keepdims=True)
    ahead = (~right & (similarity >= best)).sum(axis=1)
    return float(np.mean(ahead < k))


def confusion(predicted, truth, classes: int, ignore: int = -1) -> np.ndarray:
    """Counts [classes, classes]: row the true class, column the predicted.

    Both inputs hold class indices in any one shape, say [N, H, W].  Where
    the truth is ``ignore`` nothing is counted; elsewhere a prediction outside
    0 … classes - 1 raises ValueError.
    """
    predicted, truth = _pair(predicted, truth)
    counted = truth != ignore
    predicted = predicted[counted].astype(np.int64)
    truth = truth[counted].astype(np.int64)
    for name, values in (("predicted", predicted), ("true", truth)):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            raise ValueError(f"a {name} class is outside 0 … {classes - 1}")
    cells = np.bincount(truth * classes + predicted, minlength=classes**2)
    return cells.reshape(classes, classes)


# The course has one mIoU; this line stands where a table of it does.
IOU_NOTE = "mIoU: of the classes that occur in the truth"


def iou_per_class(counts, absent: float = np.nan) -> np.ndarray:
    """Intersection over union of each class, from :func:`confusion`.

    ``counts`` [..., C, C] → [..., C].  A class without a true pixel is
    ``absent``, NaN, which no mean should count: as COCO's average precision
    has it, a class is judged where there is something to find.  Naming what
    is nowhere costs the class whose pixels are taken.  Were such a class a 0,
    as it is where unions are averaged, one stray pixel could cost 1 / C, and
    few pictures, which hold fewer classes, would score below many.
    """
    counts = np.asarray(counts)
    hit, true = np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1)
    union = counts.sum(-2) + true - hit
    return np.where(true > 0, hit / np.maximum(union, 1), absent)


def mean_iou(predicted, truth, classes: int, ignore: int = -1) -> float:
    """Mean intersection over union of integer maps, say [N, H, W].

    Pixels of all pictures are pooled, then the classes averaged that occur in
    the truth (:func:`iou_per_class`).  Pixels whose truth is ``ignore`` do
    not count; raises ValueError where none is left.
    """
    ious = iou_per_class(confusion(predicted, truth, classes, ignore))
    if np.isnan(ious).all():
        raise ValueError("no pixel to score: all are ignored")
    return float(np.nanmean(ious))


def coco_evaluation(
    detections: Sequence[dict],
    truths: Sequence[dict],
    labels: Sequence[int],
    masks: bool = False,
):
    """pycocotools' COCOeval of some classes, with boxes matched to the truth.

    One dict a picture.  ``truths``: "boxes" [n, 4] as (x0, y0, x1, y1) in
    pixels and "labels" [n]; ``detections``: the same and "scores" [n].  The
    100 best detections of a class in a picture count, whatever their size.
    With ``masks`` it is "masks" bool [n, H, W] of both that are matched.
    Raises ValueError where there are not equally many dicts.
    Lin et al. 2014, arXiv 1405.0312.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if len(detections) != len(truths):
        raise ValueError(
            f"detections of {len(detections)} pictures, truths of {len(truths)}"
        )
    sides = []
    size = {"height": 0, "width": 0}  # asked for, but of use for polygons alone
    with contextlib.redirect_stdout(io.StringIO()):  # it reports each step
        for pictures, scored in ((truths, False), (detections, True)):
            side = COCO()
            side.dataset = {
                "images": [{"id": i, **size} for i in range(len(truths))],
                "annotations": _coco_rows(pictures, scored, masks),
                "categories": [{"id": int(label)} for label in labels],
            }
            side.createIndex()
            sides.append(side)
        scoring = COCOeval(*sides, "segm" if masks else "bbox")
        scoring.params.catIds = sorted(int(label) for label in labels)
        scoring.params.areaRng, scoring.params.areaRngLbl = [[0, 1e10]], ["all"]
        scoring.evaluate()
    return scoring


def average_precision(
    detections: Sequence[dict],
    truths: Sequence[dict],
    labels: Sequence[int] | None = None,
) -> dict[str, float]:
    """COCO's {"AP", "AP50", "AP75", "AR10", "AR100"}, by pycocotools.

    Inputs as in :func:`coco_evaluation`.  AP is the mean over overlaps of
    0.50, 0.55 … 0.95 and over classes, AR10 and AR100 the share of true boxes
    that the 10 or 100 best detections find, over the same.  ``labels``
    restricts it to some classes (say the novel ones).  A class without a true
    box does not count; without any there is nothing to find: ValueError.
    """
    chosen = {int(k) for t in truths for k in _array(t["labels"]).reshape(-1)}
    if labels is not None:
        chosen &= {int(label) for label in labels}
    if not chosen:
        raise ValueError("no true box of these classes: nothing to find")
    scoring = coco_evaluation(detections, truths, sorted(chosen))
    with contextlib.redirect_stdout(io.StringIO()):
        scoring.accumulate()
    precision = scoring.eval["precision"][:, :, :, 0, -1]  # overlaps, recalls, classes
    recall = scoring.eval["recall"][:, :, 0]  # overlaps, classes, 1, 10 or 100
    figures = {
        "AP": precision,
        "AP50": precision[0],
        "AP75": precision[5],
        "AR10": recall[..., 1],
        "AR100": recall[..., 2],
    }
    return {name: float(values.mean()) for name, values in figures.items()}


def _coco_rows(
    pictures: Sequence[dict], scored: bool, masks: bool = False
) -> list[dict]:
    """The boxes, or masks, of all pictures as COCO's rows."""
    from pycocotools.mask import encode

    rows = []
    for image, picture in enumerate(pictures):
        boxes = _array(picture["boxes"]).reshape(-1, 4).astype(float)
        kinds = _array(picture["labels"]).reshape(-1)
        scores = _array(picture["scores"] if scored else kinds).reshape(-1)
        if not len(boxes) == len(kinds) == len(scores):
            raise ValueError(
                f"picture {image}: {len(boxes)} boxes, {len(kinds)} labels"
                + f", {len(scores)} scores" * scored
            )
        if (boxes[:, 2:] < boxes[:, :2]).any():
            raise ValueError(f"picture {image}: boxes are x0, y0, x1, y1, not sizes")
        shapes = _array(picture["masks"]) if masks else [None] * len(boxes)
        for box, kind, score, shape in zip(boxes, kinds, scores, shapes, strict=True):
            width, height = box[2:] - box[:2]
            row = {
                "id": len(rows) + 1,  # pycocotools takes 0 for "no match"
                "image_id": image,
                "category_id": int(kind),
                "bbox": [box[0], box[1], width, height],
                "area": width * height,
                "iscrowd": 0,
            }
            if masks:
                row["area"] = int(shape.sum())
                row["segmentation"] = encode(np.asfortranarray(shape, np.uint8))
            rows.append(row | {"score": float(score)} if scored else row)
    return rows


def expected_calibration_error(probabilities, labels, bins: int = 15) -> float:
    """How far confidence and accuracy lie apart, on average.

    ``probabilities`` [N, C], rows sum to 1; ``labels`` [N].  Answers are put
    into ``bins`` of equal width by their confidence, and the gaps between a
    bin's accuracy and its mean confidence are averaged by its size.  Raises
    ValueError for other shapes.  Guo et al. 2017, arXiv 1706.04599.
    """
    probabilities = _nonempty(_array(probabilities).astype(float))
    labels = _array(labels)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise ValueError(
            "probabilities are [N, C] and labels [N], got "
            f"{probabilities.shape} and {labels.shape}"
        )
    if not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3):
        raise ValueError("each row of probabilities must sum to 1")
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    # bins are open on the left: (0, 1/15], (1/15, 2/15] …
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def harmonic_mean(a: float, b: float) -> float:
    """2ab / (a + b), high only if both are: seen and unseen classes, say.

    0 if either is 0; negative numbers raise ValueError.
    """
    if a < 0 or b < 0:
        raise ValueError(f"no harmonic mean of {a} and {b}")
    return 2 * a * b / (a + b) if a and b else 0.0
