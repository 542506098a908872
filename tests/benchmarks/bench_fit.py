"""Seconds from nothing to 80 % zero-shot on a world of 50 stickers.

    python tests/benchmarks/bench_fit.py --threads 2

The course's ``fit`` and ``TwoTower`` against a plain loop around
``transformers.CLIPModel``: the same shape (and number of parameters), the same
scenes, captions, batches and their order, both from scratch.  The plain loop
is what one writes first: AdamW with the model's own loss, one learning rate;
it is tried with several, and its best counts.

Every ``--every`` steps both name one-sticker scenes of the test split among
the 50 names; a run ends when ``--goal`` of them are right, or after
``--steps``.  Only the steps are timed.  Beside the seconds stand pictures a
second and the share of the machine's matrix-multiply peak, which is measured
first: operations of a step (counted by torch) over its time and that peak.

Run it on an idle machine: two torch threads beside another busy program slow
each other down many times.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPConfig, CLIPModel

from vlmtutor.models.blocks import count_parameters, seeded
from vlmtutor.models.config import FrameworkConfig
from vlmtutor.models.frameworks import TwoTower
from vlmtutor.models.words import END, START, to_ids
from vlmtutor.objectives.contrastive import clip_loss
from vlmtutor.objectives.matching import same_captions
from vlmtutor.pairs import Batch, Pairs, scene_pairs
from vlmtutor.training import batches, evaluating, fit, torch_threads
from vlmtutor.world import find_category
from vlmtutor.world.captions import bare_caption
from vlmtutor.world.categories import DENSE_BASE, NOVEL_TO_RELATIVE

NAMES = (*DENSE_BASE, *NOVEL_TO_RELATIVE)[:50]
PLAIN_RATES = (5e-4, 1e-3, 2e-3)


class Reached(Exception):
    """The goal is reached: training may stop."""


@dataclass
class Run:
    """One training: when it got where."""

    name: str
    seconds: float
    steps: int
    accuracy: float
    reached: bool


class Referee:
    """Names the test scenes, keeps the time of the steps, ends the run."""

    def __init__(self, name: str, test: Pairs, goal: float, every: int):
        self.run = Run(name, 0.0, 0, 0.0, False)
        self.pixels, self.labels = test.pixel_values, test.labels
        prompts = [find_category(n).one for n in test.names]
        self.ids = to_ids(test.tokenizer, prompts)
        self.goal, self.every = goal, every
        self.steps, self.since = -every, time.perf_counter()

    def __call__(
        self,
        encode_images: Callable[[Tensor], Tensor],
        encode_texts: Callable[[Tensor], Tensor],
    ) -> float:
        """Called before the first step and after each ``every`` steps."""
        self.steps += self.every
        if self.steps:
            self.run.seconds += time.perf_counter() - self.since
        images = torch.cat([encode_images(p) for p in self.pixels.split(250)])
        choice = (images @ encode_texts(self.ids).T).argmax(dim=1)
        right = (choice == self.labels).float().mean().item()
        self.run.steps, self.run.accuracy = self.steps, right
        print(f"  {self.run.name}: step {self.steps}, {right:.1%}", flush=True)
        if right >= self.goal:
            self.run.reached = True
            raise Reached
        self.since = time.perf_counter()
        return right


def contrast(model: TwoTower, batch: Batch) -> Tensor:
    return clip_loss(
        model.encode_images(batch.pixel_values),
        model.encode_texts(batch.input_ids),
        model.scale(),
        same_captions(batch.input_ids),
    )


def ours(config, train: Pairs, referee: Referee, args) -> Run:
    """The course's way."""
    model = TwoTower(config)

    def look(model: TwoTower) -> float:
        return referee(model.encode_images, model.encode_texts)

    try:
        fit(
            model, contrast, train, steps=args.steps, batch_size=args.batch,
            lr=args.lr, seed=args.seed, evaluate=look, every=args.every,
            progress=False,
        )  # fmt: skip
    except Reached:
        pass
    return referee.run


def clip_model(config: FrameworkConfig, seed: int) -> CLIPModel:
    """A CLIPModel of the towers' shape, weights as transformers draws them."""
    layers = {
        "hidden_size": config.width,
        "intermediate_size": 4 * config.width,
        "num_attention_heads": config.heads,
        "hidden_act": "gelu",
    }
    text = {
        "vocab_size": config.vocabulary,
        "max_position_embeddings": config.text_length,
        "num_hidden_layers": config.text_layers,
        "pad_token_id": 0, "bos_token_id": START, "eos_token_id": END,
    }  # fmt: skip
    vision = {
        "image_size": config.image_size,
        "patch_size": config.patch_size,
        "num_hidden_layers": config.image_layers,
    }
    with seeded(seed):
        return CLIPModel(
            CLIPConfig(
                text_config=layers | text,
                vision_config=layers | vision,
                projection_dim=config.embed_dim,
            )
        )


def plain(config, train: Pairs, referee: Referee, args, lr: float) -> Run:
    """A plain loop around transformers."""
    model = clip_model(config, args.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    rows = batches(len(train), args.batch, args.seed)

    def encode_images(pixel_values: Tensor) -> Tensor:
        return model.get_image_features(pixel_values).pooler_output

    def encode_texts(ids: Tensor) -> Tensor:
        # the arg-max over names does not see the lengths of images' vectors
        output = model.get_text_features(ids, attention_mask=ids != 0)
        return torch.nn.functional.normalize(output.pooler_output, dim=-1)

    try:
        for step in range(args.steps + 1):
            if step % args.every == 0:
                with evaluating(model):
                    referee(encode_images, encode_texts)
            batch = train.batch(next(rows))
            loss = model(
                input_ids=batch.input_ids,
                attention_mask=batch.input_ids != 0,
                pixel_values=batch.pixel_values,
                return_loss=True,
            ).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    except Reached:
        pass
    return referee.run


def matmul_peak(size: int = 1024, rounds: int = 5) -> float:
    """The best of some large products, in operations a second."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(4):
            a @ b
        best = min(best, (time.perf_counter() - start) / 4)
    return 2 * size**3 / best


def step_operations(config: FrameworkConfig, batch: Batch) -> float:
    """Operations of one step of ours, forward and backward."""
    model = TwoTower(config)
    with FlopCounterMode(display=False) as counter:
        contrast(model, batch).backward()
    return float(counter.get_total_flops())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scenes", type=int, default=20_000)
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--names", type=int, default=50)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--goal", type=float, default=0.8)
    parser.add_argument("--lr", type=float, default=2e-3, help="of ours")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.steps % args.every:
        parser.error("--every divides --steps")
    names = NAMES[: args.names]
    options = {"size": 48, "categories": names, "caption": bare_caption}
    train = scene_pairs(args.scenes, stickers=(1, 2), **options)
    test = scene_pairs(
        args.tests, "test", stickers=1, tokenizer=train.tokenizer, **options
    )
    config = FrameworkConfig(
        vocabulary=len(train.tokenizer), image_size=48, patch_size=8,
        text_length=train.input_ids.shape[1] + 4, width=96, heads=4,
        image_layers=4, text_layers=2, embed_dim=96, causal=True,
        seed=args.seed,
    )  # fmt: skip
    size = count_parameters(TwoTower(config))
    assert size == count_parameters(clip_model(config, args.seed))
    print(
        f"{len(names)} stickers, {len(train):,} scenes of 48 px, "
        f"{size:,} parameters, batches of {args.batch}, "
        f"{args.threads} threads"
    )
    with torch_threads(args.threads):
        peak = matmul_peak()
        work = step_operations(config, train.batch(range(args.batch)))

        def referee(name: str) -> Referee:
            return Referee(name, test, args.goal, args.every)

        runs = [ours(config, train, referee("ours"), args)]
        for lr in PLAIN_RATES:
            name = f"CLIPModel, rate {lr:g}"
            runs.append(plain(config, train, referee(name), args, lr))
    print(f"\nmatrix-multiply peak: {peak / 1e9:.0f} G operations/s")
    print(f"{'':24} seconds  steps  top-1  images/s  of the peak")
    for run in runs:
        rate = run.steps / run.seconds if run.seconds else 0.0
        print(
            f"{run.name:24} {run.seconds:7.1f} {run.steps:6} "
            f"{run.accuracy:6.1%} {rate * args.batch:9.0f} "
            f"{rate * work / peak:12.0%}"
            + ("" if run.reached else "  goal not reached")
        )
    there = [run.seconds for run in runs[1:] if run.reached]
    if runs[0].reached and there:
        ratio = min(there) / runs[0].seconds
        print(f"ours is {ratio:.2f} times as fast as the best plain loop")


if __name__ == "__main__":
    main()
