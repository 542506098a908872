"""Solutions to the exercises of 16_det_label_it_yourself."""

from scipy.optimize import linear_sum_assignment


def precision_of(overlaps, sure, limit=0.5):
    """Overlaps [labels, things], sure [labels] → share of right labels.

    The surest label chooses first; a thing that has one is crossed out, so a
    second label on it is wrong, however well it fits.
    """
    overlaps, right = overlaps.clone(), 0
    for label in sure.argsort(descending=True).tolist():
        overlap, thing = overlaps[label].max(0)
        if overlap >= limit:
            right += 1
            overlaps[:, thing] = 0
    return right / len(sure)


def pair(scores):
    """Scores [words, regions] → a region for each word: a list.

    The least total of the negated scores is the largest total; rows come back
    in their order.
    """
    _, regions = linear_sum_assignment(-scores)
    return regions.tolist()
