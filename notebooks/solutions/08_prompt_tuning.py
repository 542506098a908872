"""Solutions to the exercises of 08_prompt_tuning."""


def without_opposition(task_gradient, general_gradient):
    """Two tensors of one shape → the gradient to follow."""
    along = (task_gradient * general_gradient).sum()
    if along >= 0:
        return task_gradient
    return task_gradient - along / general_gradient.square().sum() * (
        general_gradient
    )


def vote_of_surest(view_logits, keep):
    """Logits [V, C] and a number of views → a class, an int."""
    p = view_logits.softmax(dim=1)  # [V, C]
    entropy = -(p * p.clamp(min=1e-12).log()).sum(dim=1)  # [V]
    surest = entropy.argsort()[:keep]
    return int(p[surest].mean(dim=0).argmax())
