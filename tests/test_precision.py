"""bfloat16 products: where, and where not."""

import pytest
import torch
import torch.nn.functional as F

from vlmtutor import precision
from vlmtutor.precision import bf16_products, full_precision
from vlmtutor.seeding import seeded_weights
from vlmtutor.training import fit


def test_products_and_only_they_are_bf16():
    x = torch.randn(1, 2, 4, 8)
    with bf16_products():
        assert (x @ x.transpose(-1, -2)).dtype == torch.bfloat16
        attended = F.scaled_dot_product_attention(*[x.bfloat16()] * 3)
        assert attended.dtype == torch.float32
        with full_precision():
            assert (x @ x.transpose(-1, -2)).dtype == torch.float32
    assert (x @ x.transpose(-1, -2)).dtype == torch.float32


def test_a_mask_of_bools_stays_one():
    x = torch.randn(1, 2, 4, 8)
    mask = torch.ones(4, 4, dtype=torch.bool).tril()
    plain = F.scaled_dot_product_attention(x, x, x, attn_mask=mask)
    with bf16_products():
        inside = F.scaled_dot_product_attention(x, x, x, attn_mask=mask)
    assert torch.equal(plain, inside)


@pytest.mark.parametrize("wanted", [True, False])
def test_the_choice_is_ours_and_not_the_processors(monkeypatch, wanted):
    monkeypatch.setattr(precision, "has_bf16", lambda: not wanted)
    x = torch.randn(4, 4)
    with bf16_products(wanted):
        assert (x @ x).dtype == (torch.bfloat16 if wanted else torch.float32)


def line(bf16):
    """Fit a line with a hidden layer; its weights before and after."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(256, 8, generator=g)
    y = x[:, :1] * 2 - x[:, 1:2]
    with seeded_weights(0):
        model = torch.nn.Sequential(
            torch.nn.Linear(8, 32), torch.nn.GELU(), torch.nn.Linear(32, 1)
        )

    def loss(model, batch):
        return F.mse_loss(model(batch[0]).float(), batch[1])

    history = fit(model, loss, [x, y], 120, 64, lr=1e-2, progress=False, bf16=bf16)
    return model, history


def test_fit_learns_as_well_in_bf16_and_keeps_float_weights():
    model, history = line(bf16=True)
    _, plain = line(bf16=False)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert history.loss[-1] < 0.1 * history.loss[0]
    assert history.loss[0] == pytest.approx(plain.loss[0], rel=0.05)
    assert history.loss != plain.loss
