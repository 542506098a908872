"""The training loop: resumable, with a progress bar and a fixed seed."""

from __future__ import annotations

import math
import os
import platform
import time
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from .. import stored
from ..models.clip import Clip, ImageSettings
from ..models.saving import save_clip
from ..optimizers import learning_rate, parameter_groups
from ..precision import bf16_products
from ..seeding import generator, seeded_weights
from ..world import load_categories
from . import warm
from .build import (
    IMAGE_MEAN,
    IMAGE_STD,
    build_model,
    build_tokenizer,
    resize_positions,
)
from .card import write_card
from .config import PretrainConfig
from .data import Steps, to_device
from .losses import Trainer, total
from .positions import step_crops
from .spread import Spread
from .teacher import common_words, text_targets

CHECKPOINT = "checkpoint.pt"


def _optimizer(trainer: Trainer, config: PretrainConfig):
    groups = parameter_groups(trainer, config.weight_decay)
    return torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.98), fused=True)


class Pretraining:
    """One run in a folder; ``run()`` goes on where the last one stopped.

    ``processes`` draw scenes beside the one that trains (0: it draws them
    itself); what is learned is the same for any number of them.  Raises
    ValueError for a checkpoint that cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        config: PretrainConfig,
        device: str = "cpu",
        processes: int = 0,
    ):
        self.folder, self.config = Path(folder), config
        self.device, self.processes = torch.device(device), processes
        self.spread = Spread.join(self.device)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.steps = Steps(config, self.spread)
        self.tokenizer = build_tokenizer(common_words(), config)
        self.targets = None
        if config.bank_weight or config.teacher_weight:
            ids = self.tokenizer.get_vocab()
            vocabulary = sorted(ids, key=ids.get)
            cache = self.folder.parent / "teacher"
            self.targets = text_targets(vocabulary, cache, config)
        self.step, self.seconds, self.waiting, self.log = 0, 0.0, 0.0, []
        self.origin: str | None = None  # whose weights it began with
        self.before: dict | None = None  # what is noted of that one's training
        self._start(config.first_size)
        if (self.folder / CHECKPOINT).exists():
            self._resume()

    def warm_start(self, folder: Path) -> None:
        """Take over another run's weights, or those of a folder like the hub's.

        Nothing happens once steps are done.  Raises FileNotFoundError where
        there is neither, ValueError where tokenizer or shape differ.
        """
        if self.step:
            return
        given = warm.weights(
            Path(folder), CHECKPOINT, self.config, self.tokenizer, self.targets
        )
        model, beside = given
        self.origin = Path(folder).name
        self.before = warm.notes(Path(folder))
        self._start(self.size, resize_positions(model, self.size))
        for name, value in beside.items():
            self.trainer.state_dict()[name].copy_(value)

    def _start(self, size: int, model=None) -> None:
        self.size = size
        if model is None:
            model = build_model(self.config, len(self.tokenizer), size)
        with seeded_weights(self.config.seed):
            trainer = Trainer(model, len(load_categories()), bias=self.config.bias)
        self.trainer = trainer.to(self.device)
        self.optimizer = _optimizer(self.trainer, self.config)
        self.averaged = {
            k: v.detach().clone() for k, v in self.trainer.clip.state_dict().items()
        }

    def enlarge(self) -> None:
        """Go over to the final canvas: positions interpolated, Adam reset."""
        old = self.trainer
        average = build_model(self.config, len(self.tokenizer), self.size)
        average.load_state_dict(self.averaged)  # copies from any device
        self._start(
            self.config.final_size,
            resize_positions(self.trainer.clip.cpu(), self.config.final_size),
        )
        self.trainer.bank, self.trainer.bias = old.bank, old.bias
        self.trainer.to_teacher = old.to_teacher
        self.optimizer = _optimizer(self.trainer, self.config)
        average = resize_positions(average, self.config.final_size)
        averaged = average.to(self.device).state_dict()
        self.averaged = {k: v.clone() for k, v in averaged.items()}

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")
        except Exception as error:  # a torn file raises errors of any kind
            reason = type(error).__name__
            raise ValueError(
                f"{path} cannot be read ({reason}): remove it to begin anew"
            ) from error
        if state["size"] != self.size:
            model = build_model(self.config, len(self.tokenizer), state["size"])
            self._start(state["size"], model)
        self.trainer.load_state_dict(state["trainer"])
        self.optimizer.load_state_dict(state["optimizer"])
        kept = state["averaged"].items()
        self.averaged = {name: tensor.to(self.device) for name, tensor in kept}
        self.step, self.seconds = state["step"], state["seconds"]
        self.log, self.origin = state["log"], state.get("origin")
        self.before = state.get("before")

    def checkpoint(self) -> None:
        """Write everything that a continuation needs, in one move."""
        if self.spread.rank:
            return  # the first process writes for all
        state = {
            "trainer": self.trainer.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averaged": self.averaged,
            "step": self.step,
            "size": self.size,
            "seconds": self.seconds,
            "origin": self.origin,
            "before": self.before,
            "log": self.log,
        }
        # always the same name: a killed run leaves one such file, not many
        temporary = self.folder / (CHECKPOINT + ".new")
        torch.save(state, temporary)
        os.replace(temporary, self.folder / CHECKPOINT)
        stored.write(self.about() | {"log": self.log}, self.folder / warm.LOG)

    def about(self) -> dict:
        """What the run knows of itself, for the log and the card."""
        name = platform.processor() or platform.machine()
        if self.device.type == "cuda":
            name = torch.cuda.get_device_name(self.device)
        about = stored.heading()
        about["machine"]["device"] = name
        done = {"steps": self.step, "seconds": round(self.seconds, 1)}
        origin = {"origin": self.origin, "before": self.before}
        return about | done | origin | {"config": asdict(self.config)}

    def _rows(self) -> Tensor | None:
        """Which free texts this step learns."""
        if self.targets is None:
            return None
        rng = generator(self.config.seed * 10**9 + self.step)
        return self.targets.rows(self.config.text_batch, rng)

    def train_step(self, item=None) -> dict[str, float]:
        """One step; ``item`` is what :class:`.data.Steps` has for it."""
        config = self.config
        size, batch, mosaics = item or self.steps[self.step]
        if size != self.size:
            self.enlarge()
        batch = to_device(batch, self.device)
        mosaics = mosaics and to_device(mosaics, self.device)
        crops = step_crops(config, self.step, self.spread, batch, mosaics)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(
                self.step, config.steps, config.lr, config.warmup
            )
        with bf16_products(config.bf16, self.device.type):
            told = batch, self.tokenizer, config, self.targets, self._rows(), mosaics
            terms = self.trainer.losses(*told, self.spread, crops)
        loss = total(terms, config, self.step)
        self.optimizer.zero_grad()
        loss.backward()
        used = [p for g in self.optimizer.param_groups for p in g["params"]]
        self.spread.add_gradients(used)
        torch.nn.utils.clip_grad_norm_(self.trainer.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            # CLIP's clamp: the scale stays within 1 and 100
            self.trainer.clip.logit_scale.clamp_(0, math.log(100))
            decay = min(config.average, (1 + self.step) / (10 + self.step))
            for name, p in self.trainer.clip.state_dict().items():
                if p.is_floating_point():
                    self.averaged[name].lerp_(p, 1 - decay)
        self.step += 1
        return {name: float(term.detach()) for name, term in terms.items()}

    def _items(self, until: int):
        """The data of the steps to come, drawn ahead where processes do it."""
        rows = range(self.step, until)
        many = {"prefetch_factor": 4, "multiprocessing_context": "spawn"}
        loader = DataLoader(
            self.steps,
            batch_size=None,
            sampler=rows,
            num_workers=self.processes,
            **(many if self.processes else {}),
        )
        items = iter(loader)
        for _ in rows:
            begun = time.perf_counter()
            item = next(items)
            self.waiting += time.perf_counter() - begun
            yield item

    def run(self, until: int | None = None, every: float = 180.0) -> None:
        """Train to the last step, writing a checkpoint every few minutes."""
        last = self.config.steps
        until = last if until is None else min(until, last)
        first, self.waiting = self.step, 0.0
        hidden = self.spread.rank > 0
        shown = {"unit": "step", "mininterval": 5.0, "disable": hidden}
        bar = tqdm(total=until, initial=self.step, **shown)
        begun = started = written = time.time()
        sums: dict[str, float] = {}
        for item in self._items(until):
            terms = self.train_step(item)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value
            if self.step % 100 == 0:
                # fewer than 100 steps when the run went on in between
                n = min(100, self.step - first)
                row = {k: round(v / n, 4) for k, v in sums.items()}
                row["scale"] = round(
                    float(self.trainer.clip.logit_scale.detach().exp()), 2
                )
                self.log.append({"step": self.step, **row})
                bar.set_postfix(row)
                sums = {}
            bar.update()
            if time.time() - written > every:
                self.seconds += time.time() - started
                started = written = time.time()
                self.checkpoint()
        self.seconds += time.time() - started
        bar.close()
        self.checkpoint()
        if self.step > first and not hidden:
            print(self._pace(self.step - first, time.time() - begun))

    def _pace(self, steps: int, seconds: float) -> str:
        """Scenes a second, and how much of the time went by without any."""
        config = self.config
        scenes = steps * (config.batch_size + 4 * config.mosaics)
        share = self.waiting / seconds
        return (
            f"{steps} steps in {seconds:.0f} s: {scenes / seconds:.0f} scenes a "
            f"second, {share:.0%} of the time waiting for scenes"
        )

    def export(self, folder: Path) -> Path:
        """Write the averaged model as a folder like any on the hub, with a card."""
        model = build_model(self.config, len(self.tokenizer), self.size)
        weights = (
            self.averaged if self.config.average else self.trainer.clip.state_dict()
        )
        model.load_state_dict(weights)
        square = (self.size, self.size)
        settings = ImageSettings(self.size, square, mean=IMAGE_MEAN, std=IMAGE_STD)
        save_clip(Clip(model, self.tokenizer, settings), folder)
        stored.write(self.about() | {"log": self.log}, Path(folder) / warm.TRAINING)
        write_card(folder, self.about())
        return Path(folder)
