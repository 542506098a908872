"""The loops: the same for the same seed, and nothing global changes."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from vlmtutor.optimizers import learning_rate, make_optimizers, parameter_groups
from vlmtutor.pairs import scene_pairs
from vlmtutor.seeding import batches, epochs, generator, seeded_weights
from vlmtutor.training import (
    descend,
    evaluating,
    fit,
    frozen,
    minimize,
    torch_threads,
)


def line(seed=0):
    """A tiny regression problem: y = 3 x."""
    x = torch.randn(64, 1, generator=generator(seed))
    return [x, 3 * x]


def model():
    with seeded_weights(0):
        return nn.Linear(1, 1)


def squared(model, batch):
    x, y = batch
    return (model(x) - y).square().mean()


def quick(net, loss=squared, data=None, **options):
    options = {"steps": 60, "batch_size": 16, "lr": 0.2} | options
    return fit(net, loss, data or line(), progress=False, **options)


def test_it_learns():
    net = model()
    history = quick(net, steps=150)
    assert history.steps == 150 and history.items == 150 * 16
    assert history.loss[-1] < 0.01 < history.loss[0]
    assert history.seconds > 0 and history.items_per_second > 0
    assert net.weight.item() == pytest.approx(3, abs=0.2)


def test_the_same_seed_gives_the_same_steps():
    first, second, third = (quick(model(), seed=s) for s in (1, 1, 2))
    assert first.loss == second.loss != third.loss


def test_nothing_global_changes():
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    quick(model(), steps=5, threads=1)
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.get_num_threads() == threads


def test_threads_come_back_after_an_error():
    before = torch.get_num_threads()
    seen = []

    def fail(model, batch):
        seen.append(torch.get_num_threads())
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        quick(model(), fail, threads=1)
    assert seen == [1] and torch.get_num_threads() == before
    with torch_threads(None):
        assert torch.get_num_threads() == before


def test_terms_are_added_and_kept():
    def two(model, batch):
        loss = squared(model, batch)
        return {"near": loss, "small": 0.1 * model.weight.square().sum()}

    history = quick(model(), two, steps=7)
    assert set(history.terms) == {"near", "small"}
    for k, total in enumerate(history.loss):
        parts = sum(values[k] for values in history.terms.values())
        assert total == pytest.approx(parts)


def test_evaluations_come_before_between_and_after():
    modes = []

    def look(net):
        modes.append((net.training, torch.is_grad_enabled()))
        return net.weight.item()

    net = model()
    history = quick(net, steps=25, every=10, evaluate=look)
    assert [step for step, _ in history.evaluations] == [0, 10, 20, 25]
    assert set(modes) == {(False, False)}
    assert net.training
    assert history.evaluations[-1][1] == net.weight.item()


def test_a_loss_that_is_no_number_stops_it():
    def explode(model, batch):
        return squared(model, batch) * float("inf")

    net = model()
    weight = net.weight.item()
    with pytest.raises(FloatingPointError, match="step 0"):
        quick(net, explode)
    assert net.weight.item() == weight


def test_frozen_weights_stay():
    net = nn.Sequential(nn.Linear(1, 4), nn.Linear(4, 1))
    net[0].requires_grad_(False)
    before = net[0].weight.clone()
    quick(net, steps=5)
    assert torch.equal(net[0].weight, before)


def test_epochs_are_of_full_batches_and_cover_everything():
    rows = epochs(10, 4, seed=3)
    first = torch.cat([next(rows), next(rows)])
    assert len(first) == len(first.unique()) == 8
    assert {len(next(rows)) for _ in range(20)} == {4}
    assert sorted(next(epochs(3, 100, seed=0)).tolist()) == [0, 1, 2]


def test_batches_use_every_row_before_any_twice():
    rows, again, other = (torch.stack([*batches(10, 4, 5, s)]) for s in (0, 0, 1))
    assert rows.shape == (5, 4)
    assert sorted(rows.flatten()[:10].tolist()) == list(range(10))
    assert torch.equal(rows, again) and not torch.equal(rows, other)
    assert len(next(batches(3, 8, 1, seed=0))) == 3
    for order in (batches(0, 4, 1, seed=0), epochs(0, 4, seed=0)):
        with pytest.raises(ValueError, match="no data"):
            next(order)


def test_weights_come_from_the_seed_alone():
    state = torch.random.get_rng_state()
    with pytest.raises(RuntimeError), seeded_weights(1):
        one = torch.rand(3)
        raise RuntimeError
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(one, torch.rand(3, generator=generator(1)))


def test_frozen_gives_back_what_it_took():
    clip = SimpleNamespace(model=nn.Linear(2, 2))
    clip.model.bias.requires_grad_(False)
    with pytest.raises(RuntimeError), frozen(clip):
        assert not any(p.requires_grad for p in clip.model.parameters())
        raise RuntimeError
    assert [p.requires_grad for p in clip.model.parameters()] == [True, False]


def test_the_small_loops_find_a_minimum():
    target = torch.tensor([1.0, -2.0])
    clip = SimpleNamespace(model=nn.Linear(1, 1))
    x, y = (nn.Parameter(torch.zeros(2)) for _ in range(2))
    minimize(clip, [x], lambda rows: (x - target).square().sum(), 4, steps=200, lr=0.1)
    assert torch.allclose(x.detach(), target, atol=1e-3)
    assert x.grad is None
    seen = []

    def loss(step, rows):
        seen.append((step, rows))
        return (y - target).square().sum()

    descend([y], loss, 4, steps=200, lr=0.1, batch_size=2, clip_norm=1.0, seed=3)
    assert torch.allclose(y.detach(), target, atol=0.01)
    assert [step for step, _ in seen] == list(range(200))
    order = torch.stack([rows for _, rows in seen])
    assert torch.equal(order, torch.stack([*batches(4, 2, 200, 3)]))


def test_a_group_of_parameters_may_take_smaller_steps():
    x, y = (nn.Parameter(torch.zeros(2)) for _ in range(2))
    groups = [{"params": [x]}, {"params": [y], "lr": 0.1 / 25}]
    descend(
        groups,
        lambda *_: (x - 9).sum() + (y - 9).sum(),
        4,
        steps=3,
        lr=0.1,
        clip_norm=1,
    )
    assert torch.allclose(25 * y.detach(), x.detach(), rtol=0.01)
    assert (x < -0.1).all()


def test_data_may_be_a_tensor_and_must_have_one_length():
    net = model()
    history = fit(
        net, lambda m, x: m(x).square().mean(), line()[0], steps=3, progress=False
    )
    assert history.steps == 3
    with pytest.raises(ValueError, match="one length"):
        quick(net, data=[torch.zeros(3, 1), torch.zeros(4, 1)])


def test_the_rate_goes_up_and_down():
    rates = [learning_rate(s, 100, 1.0, 10) for s in range(100)]
    assert rates[:10] == pytest.approx([k / 10 for k in range(1, 11)])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.03
    assert 0 < learning_rate(0, 1, 1.0, 20) <= 1  # shorter than the warm-up


def test_weight_decay_is_for_matrices():
    net = nn.Sequential(nn.Embedding(3, 4), nn.Linear(4, 4), nn.LayerNorm(4))
    decay, rest = parameter_groups(net, 0.1)
    assert [p.shape for p in decay["params"]] == [(4, 4)]
    assert decay["weight_decay"] == 0.1 and rest["weight_decay"] == 0
    assert len(rest["params"]) == 4


def test_muon_takes_the_matrices():
    net = nn.Sequential(nn.Conv2d(3, 4, 2), nn.Embedding(3, 4), nn.Linear(4, 8))
    muon, adamw = make_optimizers(net, "muon", 0.1, 0.1)
    assert isinstance(muon, torch.optim.Muon)
    assert [p.shape for p in muon.param_groups[0]["params"]] == [(8, 4)]
    others = [p for g in adamw.param_groups for p in g["params"]]
    assert len(others) == 4  # kernels, two biases, the table
    (only,) = make_optimizers(net, "adamw", 0.1, 0.1)
    assert sum(len(g["params"]) for g in only.param_groups) == 5
    (only,) = make_optimizers(nn.LayerNorm(4), "muon", 0.1, 0.1)
    assert isinstance(only, torch.optim.AdamW)  # no matrix in it


def test_muon_steps_are_as_long_in_every_direction():
    gradient = torch.diag(torch.tensor([8.0, 1.0, 0.5, 0.25]))
    net = nn.Linear(4, 4, bias=False)
    before = net.weight.detach().clone()
    muon = make_optimizers(net, "muon", 0.1, 0.0)[0]
    net.weight.grad = gradient
    muon.step()
    lengths = torch.linalg.svdvals(before - net.weight.detach())
    assert lengths.max() < 2 * lengths.min()  # of the gradient: 32 times
    assert lengths.mean() == pytest.approx(0.1 * 0.2 * 4**0.5, rel=0.3)


def test_fit_learns_with_muon_and_refuses_other_names():
    net = model()
    history = quick(net, steps=150, lr=1.0, optimizer="muon")
    assert history.loss[-1] < 0.1 < 1 < history.loss[0]
    with pytest.raises(ValueError, match="muon"):
        quick(model(), optimizer="sgd")


def test_smooth_is_a_running_mean():
    history = quick(model(), steps=6)
    assert history.smooth(1) == pytest.approx(history.loss)
    assert history.smooth(100)[-1] == pytest.approx(sum(history.loss) / 6)


def test_evaluating_gives_the_mode_back():
    net = model().eval()
    with evaluating(net):
        assert not torch.is_grad_enabled()
    assert not net.training and torch.is_grad_enabled()


# pairs in memory


@pytest.fixture(scope="module")
def pairs():
    return scene_pairs(
        12,
        size=32,
        categories=["cat", "car", "key"],
        stickers=(1, 2),
        discs=1.0,
        repeats=0.0,
    )


def test_pairs_hold_what_the_scenes_hold(pairs):
    assert len(pairs) == len(pairs.captions) == len(pairs.scenes) == 12
    assert [len(s.objects) for s in pairs.scenes] == [1, 2] * 6
    assert pairs.pixel_values.shape == (12, 3, 32, 32)
    assert pairs.pixel_values.abs().max() <= 1
    first = pairs.scenes[0]
    assert (pairs.images[0].permute(1, 2, 0).numpy() == first.array).all()
    assert pairs.names[pairs.labels[0]] == first.objects[0].name
    assert pairs.names == ["cat", "car", "key"]


def test_a_batch_is_cut_to_its_longest(pairs):
    batch = pairs.batch([0, 2])
    assert len(batch) == 2 and batch.index.tolist() == [0, 2]
    assert (batch.input_ids[:, -1] != 0).any()
    assert batch.input_ids.shape[1] < pairs.input_ids.shape[1]
    empty = pairs.batch([])
    assert empty.pixel_values.shape == (0, 3, 32, 32)
    part = pairs.subset([3])
    assert part.captions == [pairs.captions[3]]
    assert torch.equal(part.images[0], pairs.images[3])


def test_region_words_are_the_phrases(pairs):
    table = pairs.tokenizer.convert_ids_to_tokens
    for i, scene in enumerate(pairs.scenes):
        for k, thing in enumerate(scene.objects):
            x0, y0, x1, y1 = thing.box
            box = torch.tensor([x0, y0, x1, y1]) / 32
            assert torch.allclose(pairs.boxes[i, k], box)
            ids = pairs.input_ids[i][pairs.region_words[i, k]]
            phrase = scene.caption[slice(*thing.span)]
            assert " ".join(table(ids.tolist())) == phrase
    assert not pairs.region_words[0, 1].any()  # one sticker, one phrase


def test_no_pairs():
    none = scene_pairs(0, size=32)
    assert len(none) == 0 and none.captions == []
    with pytest.raises(ValueError, match="no data"):
        fit(nn.Linear(1, 1), squared, none, steps=1, progress=False)
