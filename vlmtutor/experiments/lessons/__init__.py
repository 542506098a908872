"""Longer runs of notebooks 01 to 06 than a notebook has time for.

The model, its data and its questions are those of :mod:`vlmtutor.lessons`;
here stands how often, how long, and with what varied.
"""

FROM_SCRATCH = ("from scratch",)  # in place of a backbone


def rounded(scores: dict[str, float]) -> dict[str, float]:
    """Figures as they are stored: with four digits."""
    return {name: round(float(value), 4) for name, value in scores.items()}
