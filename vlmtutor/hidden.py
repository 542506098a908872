"""A second input for exercises, which their notebooks do not show.

A check that only knows the cases on the page can be passed by writing down
their answers.  :func:`vlmtutor.claims.check_exercise` tries these as well, where
there are any of the exercise's name.
"""

from __future__ import annotations


def cases(name: str) -> list[tuple[tuple, object]]:
    """(arguments, expected) of an exercise; none for an unknown name."""
    import torch

    yes, no = True, False
    known = {
        # notebook 00
        "top_names": [
            ((torch.tensor([0.2, 0.5, 0.3, 0.0]), ["a", "b", "c", "d"], 1), ["b"])
        ],
        # notebook 01; 180 degrees are 0 again
        "edge_histogram": [
            (
                (torch.tensor([5.0, 12.0]), torch.tensor([180.0, 91.0]), 2),
                torch.tensor([5 / 13, 12 / 13]),
            )
        ],
        "worth": [(({2: 0.3, 8: 0.9, 4: 0.95}, 0.9), 4)],
        # notebook 02
        "look_mask": [
            (
                (2, 1, "two legs"),
                torch.tensor([[yes, yes, no], [yes, yes, no], [yes, yes, yes]]),
            )
        ],
        "block_runs": [((3, 7, 1, 2, 4), 101)],
        # notebook 03
        "symmetric_loss": [((torch.eye(2), 1.0), torch.tensor(0.313262))],
        "label_targets": [
            (
                (torch.tensor([3]), torch.tensor([3, 3, 3, 1])),
                torch.tensor([[1 / 3, 1 / 3, 1 / 3, 0.0]]),
            )
        ],
    }
    return known.get(name, [])
