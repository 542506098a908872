"""CLIPSeg: ask for one thing at a time, in words or with a picture.

Lueddecke and Ecker 2022, "Image Segmentation Using Text and Image Prompts",
arXiv 2112.10003.  Frozen: both towers; trained: a small transformer that
climbs CLIP's hidden states from deep to shallow, told once what to look for
by FiLM (scale and shift) with the prompt's embedding.  Each prompt is a
yes-or-no question of its own, asked in vain now and then.  Simplified: three
levels of width 48; prompts are names in templates for PhraseCut's phrases;
embeddings keep their lengths, but are scaled so that their entries are about
1, or a few steps would hardly hear them; no visual supports from other pictures
than the training scenes.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from torch import Tensor, nn

from ...models.blocks import Block
from ...models.inside import as_map
from ...naming import TEMPLATES
from ...seeding import generator, seeded_weights
from ...training import minimize
from ...verdict import Check
from ...world import StickerWorld
from ..methods import STEPS, Info
from ..pictures import DensePictures, taps
from ..supervision import Masked

DARK = 0.1  # brightness of what surrounds a visual prompt
QUESTIONS = 3  # a picture, in training
WIDTH = 48  # of the decoder
SUPPORTS = 4  # visual prompts a class
HALF = 0.5
SURE = 0.2  # chosen on pseudo-novel classes of validation scenes

INFO = Info(
    name="CLIPSeg",
    paper="Image Segmentation Using Text and Image Prompts",
    year=2022,
    arxiv="2112.10003",
    table="inductive",
    needs=Masked,
    frozen="CLIP",
    tuned="a decoder of hidden states",
    simplified="width 48, names for phrases",
    knobs={"steps": STEPS, "background": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)},
    reading=("background", "prompt"),
)
ROWS = (INFO,)


@torch.no_grad()
def raw_texts(clip, texts: list[str]) -> Tensor:
    """Text embeddings with their lengths: [M, D]."""
    return clip.text_features(clip.tokenize(texts), normalize=False)


def highlight(image: np.ndarray, mask: np.ndarray) -> Image.Image:
    """A visual prompt: cut out, the surroundings blurred and darkened."""
    picture = Image.fromarray(image)
    dim = picture.filter(ImageFilter.GaussianBlur(3))
    dim = dim.point(lambda value: DARK * value)
    dim.paste(picture, mask=Image.fromarray(mask))
    rows, columns = np.nonzero(mask)
    y, x = (rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2
    half = 0.75 * max(np.ptp(rows), np.ptp(columns)) + 1
    return dim.crop(tuple(round(v) for v in (x - half, y - half, x + half, y + half)))


@torch.no_grad()
def base_supports(clip, data: Masked) -> Tensor:
    """Visual prompts of every class, from the training masks: [C, K, D].

    Raises ValueError where a class has no mask.
    """
    images, found = data.pictures.images.numpy(), []
    labels = data.labels.numpy()
    for c in range(len(data.names)):
        places = np.flatnonzero((labels == c).any((1, 2)))[:SUPPORTS]
        if not len(places):
            raise ValueError(f"no mask of {data.names[c]!r}")
        prompts = [highlight(images[i], labels[i] == c) for i in places]
        prompts = clip.image_features(clip.preprocess(prompts), normalize=False)
        turns = torch.arange(SUPPORTS) % len(prompts)
        found.append(prompts[turns])
    return torch.stack(found)


@torch.no_grad()
def sticker_supports(clip, names: list[str]) -> Tensor:
    """One picture a name, the sticker alone on a dark ground: [C, D]."""
    side, pictures = clip.image_size, []
    world = StickerWorld(side)
    for name in names:
        ground = Image.new("RGB", (side, side), (16, 16, 16))
        art = world.sticker(name, round(0.66 * side))
        corner = tuple((side - length) // 2 for length in art.size)
        ground.paste(art, corner, art)
        pictures.append(ground)
    return clip.image_features(clip.preprocess(pictures), normalize=False)


class Decoder(nn.Module):
    """``decoder(states, prompts)`` is [N, P, S, S]: logits of P questions.

    ``states``: hidden states [N, 1 + T, W], shallow to deep; ``prompts``
    [N, P, D].
    """

    def __init__(self, clip, levels: int, width: int, seed: int):
        super().__init__()
        config = clip.model.config.vision_config
        D, W = clip.embed_dim, config.hidden_size
        self.patch = config.patch_size
        with seeded_weights(seed):
            self.reduce = nn.ModuleList(nn.Linear(W, width) for _ in range(levels))
            self.blocks = nn.ModuleList(Block(width, 4) for _ in range(levels))
            self.scale, self.shift = nn.Linear(D, width), nn.Linear(D, width)
            self.read = nn.ConvTranspose2d(width, 1, self.patch, self.patch)

    def forward(self, states: list[Tensor], prompts: Tensor) -> Tensor:
        N, P = prompts.shape[:2]
        scale, shift = self.scale(prompts), self.shift(prompts)  # [N, P, w]
        told, x = False, 0.0
        deep_first = zip(reversed(states), self.reduce, self.blocks, strict=True)
        for state, reduce, block in deep_first:
            level = reduce(F.layer_norm(state, state.shape[-1:]))
            level = level[:, None]  # [N, 1, 1 + T, w], for every question
            x = level + x
            if not told:
                x = scale[:, :, None] * x + shift[:, :, None]
                told = True
            x = block(x.flatten(0, 1)).unflatten(0, (N, P))
        x = as_map(x.flatten(0, 1)[:, 1:])
        return self.read(x)[:, 0].unflatten(0, (N, P))


@dataclass(frozen=True)
class CLIPSeg:
    """``prompt`` is "text", or "image": one picture of each sticker alone.

    ``background`` is how sure a name must be to count.  ``random`` replaces
    the tower that gives the hidden states, where there is one.
    """

    clip: object
    decoder: Decoder
    layers: tuple[int, ...]
    unit: float
    background: float = SURE
    prompt: str = "text"
    random: object = None

    @property
    def trained(self) -> int:
        return sum(p.numel() for p in self.decoder.parameters())

    def states(self, pictures: DensePictures) -> list[Tensor]:
        """The hidden states that the decoder reads: [N, 1 + T, W] each."""
        if self.random is not None:
            pictures = DensePictures(self.random, pictures.images)
        return [pictures.hidden(k) for k in self.layers]

    def maps(self, pictures: DensePictures, names: list[str]) -> Tensor:
        """A probability for every pixel and name, each alone: [N, C, S, S]."""
        if self.prompt == "image":
            prompts = sticker_supports(self.clip, names)
        else:
            prompts = raw_texts(self.clip, [TEMPLATES[0].format(n) for n in names])
        prompts = (prompts / self.unit).expand(len(pictures), -1, -1)
        return self.decoder(self.states(pictures), prompts).sigmoid()

    def scores(self, pictures, names, seen=None) -> Tensor:
        maps = self.maps(pictures, names)
        ground = maps.new_full((len(maps), 1, *maps.shape[2:]), self.background)
        return torch.cat([maps, ground], 1)


def untrained(clip, seed: int):
    """The same CLIP with random weights, drawn as the model itself begins."""
    other = copy.copy(clip)
    with seeded_weights(seed):
        other.model = type(clip.model)(clip.model.config).eval()
    return other


def fit(
    clip,
    data: Masked,
    seed=0,
    *,
    negatives=0.2,
    interpolate=True,
    backbone="clip",
    background=SURE,
    prompt="text",
    steps=150,
) -> CLIPSeg:
    """Train the decoder on base masks, a few questions a picture.

    ``negatives``: how often a question asks for what is not there.
    ``interpolate`` mixes the words with a visual prompt of the class.
    """
    layers = taps(clip)
    random = untrained(clip, seed) if backbone == "random" else None
    texts = torch.stack(
        [raw_texts(clip, [t.format(n) for n in data.names]) for t in TEMPLATES], 1
    )  # [C, templates, D]
    # entries of ordinary size, as those of CLIP in the paper
    unit = float(texts.norm(dim=-1).mean()) / texts.shape[-1] ** 0.5
    supports = base_supports(clip, data) if interpolate else None
    decoder = Decoder(clip, len(layers), WIDTH, seed)
    model = CLIPSeg(clip, decoder, layers, unit, background, prompt, random)
    states = [state.half() for state in model.states(data.pictures)]
    here = torch.stack(
        [(data.labels == c).flatten(1).any(1) for c in range(len(data.names))], 1
    ).float()  # [N, C]
    rng = generator(seed)

    def loss(rows: Tensor) -> Tensor:
        present = torch.multinomial(here[rows], QUESTIONS, True, generator=rng)
        # a scene may hold every name: then any will do
        absent = torch.multinomial(
            1 - here[rows] + 1e-6, QUESTIONS, True, generator=rng
        )
        vain = torch.rand(present.shape, generator=rng) < negatives
        asked = torch.where(vain, absent, present)  # [B, Q]
        some = torch.randint(texts.shape[1], asked.shape, generator=rng)
        prompts = texts[asked, some]
        if supports is not None:
            which = torch.randint(SUPPORTS, asked.shape, generator=rng)
            share = torch.rand((*asked.shape, 1), generator=rng)
            prompts = share * prompts + (1 - share) * supports[asked, which]
        logits = decoder([s[rows].float() for s in states], prompts / unit)
        truth = data.labels[rows][:, None] == asked[:, :, None, None]
        return F.binary_cross_entropy_with_logits(logits, truth.float())

    minimize(clip, decoder.parameters(), loss, len(data), steps, 2e-3, 16, seed)
    decoder.requires_grad_(False)
    return model


def false_area(trial, **changes) -> Tensor:
    """Share of the picture where any name says yes that is not in it: [N]."""
    model, bench = trial.model(INFO, **changes), trial.bench
    pictures = bench.test_pictures.with_tags(bench.oracle_tags)
    areas = []
    with torch.no_grad():
        for part in pictures.batches():
            absent = ~part.tags[:, :, None, None]
            yes = model.maps(part, bench.names) > HALF  # [B, C, S, S]
            areas.append((yes & absent).any(1).float().mean((1, 2)))
    return torch.cat(areas)


def checks(trial) -> list[Check]:
    return [
        Check(
            "questions asked in vain teach it to say no (less false area)",
            -false_area(trial),
            -false_area(trial, negatives=0.0),
        ),
        Check(
            "mixed training helps when the prompt is a picture",
            trial.result(INFO, prompt="image"),
            trial.result(INFO, prompt="image", interpolate=False),
        ),
        Check(
            "CLIP's states beat those of a random tower",
            trial.result(INFO),
            trial.result(INFO, backbone="random"),
        ),
    ]
