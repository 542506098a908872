"""Solutions to the exercises of 07_zero_shot."""


def vote(prompts):
    """[C, K, D] of any length → classifier [C, D], rows of length 1."""
    unit = prompts / prompts.norm(dim=-1, keepdim=True)
    mean = unit.mean(dim=1)  # [C, D]
    return mean / mean.norm(dim=-1, keepdim=True)


def median_rank(similarity):
    """[N, N] → the middle one of the right items' ranks, a number."""
    own = similarity.diag()[:, None]  # [N, 1]
    ranks = (similarity > own).sum(dim=1) + 1  # [N]
    return int(ranks.median())


def box_of(mask):
    """[H, W] bool with some True → (x0, y0, x1, y1)."""
    rows = mask.any(dim=1).nonzero()[:, 0]
    columns = mask.any(dim=0).nonzero()[:, 0]
    x0, x1 = int(columns.min()), int(columns.max()) + 1
    return x0, int(rows.min()), x1, int(rows.max()) + 1
