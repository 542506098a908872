"""What the four parts share: how they measure their checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from ...verdict import Check, resample_mean

TEST = 600  # unseen scenes


def measured(
    checks: Sequence[Check], right: Mapping[str, Tensor], seed: int, words=""
) -> list[dict]:
    """The checks of one seed.  ``right``: arm → whether each picture is named, [N].

    ``words`` are added to the names of the checks.
    """
    found = []
    for check in checks:
        gap = right[check.better] - right[check.worse]
        name = f"{check.sentence}{words}"
        found.append({**check.measured(resample_mean(gap, seed)), "name": name})
    return found
