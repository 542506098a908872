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
            ),
            (  # 7 bins of 25.7 degrees
                (torch.tensor([3.0, 4.0]), torch.tensor([25.5, 179.5]), 7),
                torch.tensor([0.6, 0, 0, 0, 0, 0, 0.8]),
            ),
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
        "symmetric_loss": [  # rows alone give 0.413, columns 0.582
            (
                (torch.tensor([[1.0, 0.5], [0.0, 0.2]]), 0.5),
                torch.tensor(0.497665),
            )
        ],
        "label_targets": [
            (
                (torch.tensor([3]), torch.tensor([3, 3, 3, 1])),
                torch.tensor([[1 / 3, 1 / 3, 1 / 3, 0.0]]),
            )
        ],
        # notebook 04; a row of two, not a column
        "block_mask": [((3, 0, 1, 0, 2), torch.tensor([yes] * 2 + [no] * 7))],
        # notebook 05; tokens that cross an end of the span, or begin at its end
        "in_phrase": [
            (
                ((2, 9), [(2, 5), (5, 8), (8, 11), (0, 3), (4, 4), (9, 12)]),
                [True, True, False, False, False, False],
            )
        ],
        # notebook 07; a box in a corner, and one of everything
        "vote": [
            (
                (torch.tensor([[[2.0, 0.0], [0.0, 0.5]], [[0.0, 1.0], [0.0, 3.0]]]),),
                torch.tensor([[0.707107, 0.707107], [0.0, 1.0]]),
            )
        ],
        "box_of": [
            ((torch.eye(4, 5) > 0,), (0, 0, 4, 4)),
            ((torch.ones(2, 3) > 0,), (0, 0, 3, 2)),
        ],
        # notebook 08
        "without_opposition": [
            (
                (torch.tensor([2.0, -2.0]), torch.tensor([0.0, 3.0])),
                torch.tensor([2.0, 0.0]),
            )
        ],
        "vote_of_surest": [
            ((torch.tensor([[0.0, 3.0], [9.0, 0.0], [0.0, 2.0]]), 1), 0)
        ],
        # notebook 09
        "frame_numbers": [((10, 3), 252)],
        "fresh_prompts": [
            (
                (torch.zeros(1, 3, 2), torch.ones(2, 2)),
                torch.tensor([[[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]]),
            )
        ],
        # notebook 10
        "residual_logits": [
            (
                (torch.eye(2), torch.eye(2), torch.ones(2, 2), 1.0, 2.0),
                torch.tensor([[1.788854, 0.894427], [0.894427, 1.788854]]),
            )
        ],
        "votes": [
            (
                (torch.eye(2), torch.eye(2), torch.tensor([2, 0]), 3, 1.0),
                torch.tensor([[0.367879, 0.0, 1.0], [1.0, 0.0, 0.367879]]),
            )
        ],
        # notebook 10b
        "average_precision": [
            ((torch.tensor([0.1, 0.4, 0.2]), torch.tensor([1, 0, 1])), 7 / 12)
        ],
        "soft_best": [
            (
                (torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [-1.0]]), 1.0),
                torch.tensor([0.731059, -0.268941]),
            )
        ],
        # notebook 11
        "soft_loss": [
            (
                (torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 1.0]]), 2.0),
                torch.tensor(0.0),
            ),
            (
                (torch.zeros(1, 2), torch.tensor([[0.0, 4.0]]), 2.0),
                torch.tensor(1.311254),
            ),
        ],
        "every_other": [((12, 3), [0, 6, 11])],
        "pooled": [
            (
                (torch.tensor([[5.0], [0.0], [0.0], [0.0], [2.0]]),),
                torch.tensor([[5.0], [0.5]]),
            )
        ],
        # notebook 12; a row that is sure of nothing keeps what others need
        "denoise": [
            (
                (torch.tensor([[1.0, 1.0, 0.0], [5.0, 0.0, 0.0]]), 0.5),
                torch.tensor([[1.0, -100.0, -100.0], [5.0, -100.0, -100.0]]),
            )
        ],
        "affinity": [
            (
                (torch.tensor([[1.0, 0.0], [1.0, 1.0]]), 0),
                torch.tensor([[1.25, 1.0], [1.0, 1.25]]),
            ),
        ],
        # notebook 13
        "film": [
            (
                (torch.eye(2)[None], torch.tensor([[3.0, 2.0]]), torch.ones(1, 2)),
                torch.tensor([[[4.0, 1.0], [1.0, 3.0]]]),
            )
        ],
        "labels_of": [
            (
                (torch.tensor([[[0.9]], [[0.45]]]), torch.tensor([yes, no]), 0.6, 0.5),
                torch.tensor([[1]]),
            )
        ],
        # notebook 14
        "two_opinions": [
            (
                (
                    torch.tensor([0.5, 0.5]),
                    torch.tensor([0.5, 0.125]),
                    torch.tensor([no, yes]),
                    1 / 2,
                ),
                torch.tensor([0.5, 0.25]),
            )
        ],
        "keep_best": [
            (
                (torch.ones(2, 1, 1, dtype=torch.bool), torch.tensor([0.2, 0.3]), 0.9),
                [1],
            )
        ],
        # notebook 15; what was dropped drops nobody
        "keep_boxes": [
            (
                (
                    torch.tensor([[0.0, 0, 10, 10], [6, 0, 16, 10], [3, 0, 13, 10]]),
                    torch.tensor([0.9, 0.7, 0.8]),
                    0.4,
                ),
                [0, 1],
            )
        ],
        "average": [((torch.tensor([1, 0, 0, 1, 1, 0]), 5), (1 + 0.6 + 0.6) / 5)],
        # notebook 16; a thing that has a label takes no other
        "precision_of": [
            (
                (
                    torch.tensor([[0.6, 0.9], [0.8, 0.0], [0.7, 0.6]]),
                    torch.tensor([0.9, 0.2, 0.5]),
                ),
                2 / 3,
            )
        ],
        "pair": [((torch.tensor([[9.0, 8, 7], [9, 1, 0], [9, 8, 1]]),), [2, 0, 1])],
        # notebook 17; the dearest answer for one thing can be the best way
        "hand_out": [
            ((torch.tensor([[1.0, 2.0], [1.5, 9.0], [8.0, 2.8]]),), (1, 0)),
            ((torch.tensor([[4.0, 1.0], [3.0, 9.0], [0.0, 0.5]]),), (2, 0)),
        ],
        "relations": [
            (
                (torch.tensor([[1.0, 0], [0.6, 0.8]]), torch.eye(2)),
                torch.tensor(0.5625),
            )
        ],
        # notebook 18; the second p of "step_down" is held up by the first
        "order_alike": [(([3.0, 1.0, 2.0, 9.0], [30.0, 20.0, 10.0, 40.0]), 2 / 3)],
        "step_down": [(([0.2, 0.01, 0.15],), [0.3, 0.03, 0.3])],
        "learn_map": [
            (  # neither square nor symmetric: Z'Z is diag(2, 4)
                (
                    torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 0.0]]),
                    torch.tensor([[1.0, 2.0], [4.0, 2.0], [1.0, 0.0]]),
                    2.0,
                ),
                torch.tensor([[1.0, 0.5], [4 / 3, 1.0]]),
            )
        ],
        # notebook 19; large logits are not sure ones
        "corrected": [
            (
                (torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 2.0], [2.0, 4.0]])),
                torch.tensor([[0.0, 0.0]]),
            )
        ],
        "believed": [
            ((torch.tensor([[[50.0, 50.0]], [[0.0, -3.0]]]),), torch.tensor([1])),
            # neither the margin between two names tells, nor spread or entropy
            (
                (torch.tensor([[[0.5, 0.5, 0.0]], [[0.4, 0.3, 0.3]]]).log(),),
                torch.tensor([0]),
            ),
            (
                (torch.tensor([[[0.54, 0.459, 0.001]], [[0.6, 0.2, 0.2]]]).log(),),
                torch.tensor([1]),
            ),
        ],
        # notebook 20; row by row, the best row first or not, is another rule
        "greedy": [
            ((torch.tensor([[0.5, 0.9], [0.1, 0.95]]),), [0, 1]),
            (
                (torch.tensor([[0.9, 0.1, 0.2], [0.85, 0.3, 0.4], [0.8, 0.1, 0.75]]),),
                [0, 1, 2],
            ),
        ],
    }
    return known.get(name, [])
