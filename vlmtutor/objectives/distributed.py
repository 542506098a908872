"""Contrastive losses when the batch lies in several processes.

Each process holds its own n of the N = n · W pairs, and every function returns
that process' share: the *mean* over the processes is the loss of the whole
batch.  DistributedDataParallel takes the mean of the gradients, so with it
(and with ``accelerate``, which uses it) training goes as in one process.
Embeddings are [n, D], L2-normalised, the same n everywhere.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


class _Gather(torch.autograd.Function):
    """Rows of all processes, and the way back for their gradients."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        # every process has used my rows: what it says of them belongs to me
        grad = grad.contiguous().clone()
        dist.all_reduce(grad)
        return grad.chunk(dist.get_world_size())[dist.get_rank()]


class _PassOn(torch.autograd.Function):
    """To the next process, from the previous one; gradients go back."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return _exchange(x, +1)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return _exchange(grad, -1)


def _exchange(x: Tensor, step: int) -> Tensor:
    """Send ``x`` ``step`` places on along the ring; what comes in."""
    rank, size = dist.get_rank(), dist.get_world_size()
    came = torch.empty_like(x, memory_format=torch.contiguous_format)
    requests = dist.batch_isend_irecv(
        [
            dist.P2POp(dist.isend, x.contiguous(), (rank + step) % size),
            dist.P2POp(dist.irecv, came, (rank - step) % size),
        ]
    )
    for request in requests:
        request.wait()
    return came


def gather(x: Tensor, gradient: bool = True) -> Tensor:
    """The rows of all processes, in order of their ranks: [n, D] → [N, D].

    Without ``gradient`` only the own rows keep theirs, as with a plain
    ``all_gather``: the loss is the same and training is another.
    """
    if gradient:
        return _Gather.apply(x)
    rows = list(_Gather.apply(x.detach()).chunk(dist.get_world_size()))
    rows[dist.get_rank()] = x
    return torch.cat(rows)


def gathered_clip_loss(
    image_embeds: Tensor,
    text_embeds: Tensor,
    logit_scale: Tensor | float,
    gradient: bool = True,
) -> Tensor:
    """CLIP's loss over the pairs of all processes; this process' share.

    Own pictures against all texts and own texts against all pictures: the
    logits are twice [n, N], never [N, N].
    Source: Radford et al. 2021, arXiv 2103.00020, section 2.5.
    """
    n = len(image_embeds)
    images = gather(image_embeds, gradient)  # [N, D]
    texts = gather(text_embeds, gradient)  # [N, D]
    own = n * dist.get_rank() + torch.arange(n)
    image_to_text = F.cross_entropy(logit_scale * image_embeds @ texts.T, own)
    text_to_image = F.cross_entropy(logit_scale * text_embeds @ images.T, own)
    return (image_to_text + text_to_image) / 2


def ring_siglip_loss(
    image_embeds: Tensor,
    text_embeds: Tensor,
    logit_scale: Tensor | float,
    logit_bias: Tensor | float,
) -> Tensor:
    """SigLIP's loss over the pairs of all processes; this process' share.

    Texts travel around the ring, a block at a time: no process ever holds
    more than its own n and n visitors, and its logits are [n, n].
    Source: Zhai et al. 2023, arXiv 2303.15343, section 3.3.
    """
    n = len(image_embeds)
    signs = 2 * torch.eye(n) - 1  # own texts: pairs on the diagonal
    total = torch.zeros(())
    for hop in range(dist.get_world_size()):
        if hop:
            text_embeds = _PassOn.apply(text_embeds)
            signs = -torch.ones(n, n)  # visitors belong to no own picture
        logits = logit_scale * image_embeds @ text_embeds.T + logit_bias
        total = total - F.logsigmoid(signs * logits).sum()
    return total / n
