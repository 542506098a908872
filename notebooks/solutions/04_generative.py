"""Solutions to the exercises of 04_generative, with the reasons."""

from collections import Counter

import torch

from vlmtutor.lessons import generative as lesson


def hidden_accuracy(logits, labels):
    """logits [B, L, V], labels [B, L] → a float from 0 to 1.

    The mask comes first: -100 is the guess of no word, and would count as
    wrong.
    """
    counts = labels != -100
    right = logits.argmax(-1) == labels
    return right[counts].float().mean().item()


def block_mask(side, top, bottom, left, right):
    """→ [side²] bool, row by row; True is hidden.

    ``flatten`` goes row by row, as patches do.
    """
    mask = torch.zeros(side, side, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask.flatten()


def habit(train, test):
    """Exercise 5: {slot: how often the commonest value is right}.

    Captions of training and of test scenes; the value is that of training.
    """
    found = {}
    for slot in ("size", "thing", "colour", "place"):
        seen = Counter(lesson.slots(caption)[slot] for caption in train)
        likeliest = seen.most_common(1)[0][0]
        right = [lesson.slots(caption)[slot] == likeliest for caption in test]
        found[slot] = sum(right) / len(right)
    return found
