"""Solutions to the exercises of 20_meme_studio."""


def shares(cosines, temperature):
    """Cosines [M] → probabilities [M] that sum to 1."""
    return (cosines / temperature).softmax(dim=0)


def greedy(scores):
    """Scores [N, M], N <= M → a list of N different columns."""
    left = scores.clone()  # the caller's grid stays as it is
    chosen = [None] * len(left)
    for _ in range(len(left)):
        row, column = divmod(int(left.argmax()), left.shape[1])
        chosen[row] = column
        left[row] = -float("inf")
        left[:, column] = -float("inf")
    return chosen


def my_line():
    """A caption for throne.png: a str."""
    return "A toilet, a newspaper and a crown: the king is at work"
