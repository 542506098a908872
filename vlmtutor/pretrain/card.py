"""The card of a trained model: what it was told, by whom, and what came out.

It is filled from what the run knows of itself; ``python -m vlmtutor evaluate
--card`` puts the figures in.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from string import Template

from ..models.catalog import shipped
from .config import RECIPES, PretrainConfig
from .corpus import SOURCES

FIGURES = "<!-- figures -->", "<!-- end of figures -->"
PAIRS = {"softmax": "CLIP's symmetric loss", "sigmoid": "each pair a yes or no"}
CARD = Template("""\
---
license: cc-by-sa-4.0
library_name: transformers
pipeline_tag: zero-shot-image-classification
language: en
pairs: $pairs
---

# $name

A small CLIP that ships with the course vlmtutor. It knows one world: scenes of OpenMoji stickers with English captions. It is a plain `transformers.CLIPModel`: image encoder $vision_width wide, $vision_layers layers, patches of $patch_size px at $final_size px; text encoder $text_width wide, $text_layers layers, $text_length tokens; $embed_dim dimensions shared; $parameters M parameters, $megabytes MB in fp16.

```python
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

model = CLIPModel.from_pretrained("path/to/this/folder")
```

In the course: `vlmtutor.load_clip("$folder")`. It is meant for teaching, and for memes on pictures in sticker style. It is no model for photographs.

## What it was told

| what | how |
| --- | --- |
$told

$masks

## Data and licences

All pictures are drawn by Sticker World (`vlmtutor/world`) while training: 416 categories of [OpenMoji](https://openmoji.org) (CC BY-SA 4.0), one to four stickers a scene on 18 kinds of named background, with discs, overlap, mirrored and scaled stickers, and changes of colour, blur and noise. Captions come from a grammar and from a hand-written table of synonyms, descriptions and meme lines. The last two meme lines of every category and the pictures and captions in `images/` were kept back$casts. Training, validation and test scenes never share a seed. No photograph and no person is in the data.

$licences

## Recipe

$origin $steps steps of $batch_size scenes$mosaics, $canvas: $pictures pictures with captions in all. AdamW, weight decay $weight_decay, learning rate $lr with $warmup steps of warm-up and a cosine, bf16 products, weight average $average, seed $seed.

Trained in $time on $machine ($date). $note

To train it again:

```
pip install -r requirements-train.txt
$command
```

An interrupted command goes on where it stopped when it is given again.

## Figures

As `python -m vlmtutor evaluate` prints them: three seeds of test scenes, and the pictures of `images/`. Nothing was tuned on them.

$figures

## What it can't do

- **Bind**: it cannot tell a caption from the one with colours or sides exchanged.
- **Count**, negate, or read word order. It never says that it does not know.
- **Get every joke**: lines that name their thing are found far more often than lines that only hint at it.
- **Leave its world**: photographs, other drawing styles and things outside its 416 categories get confident nonsense.
- **Languages** other than English.

## Licence

The weights are CC BY-SA 4.0, as the pictures that they were trained on: stickers by OpenMoji. Who passes them on names OpenMoji and keeps the licence.
""")  # noqa: E501


def told(config: PretrainConfig) -> list[tuple[str, str]]:
    """What the losses of a recipe say to a model, one row each."""
    c = config
    local, texts = c.local_weight > 0, c.bank_weight > 0 or c.teacher_weight > 0
    written = "made-up ones" if c.corpus == "none" else "texts that people wrote"
    rows = [
        (True, "pictures and their captions", PAIRS[c.loss]),
        (
            local and c.mosaics,
            "which phrase lies in which quarter of a picture",
            "pictures put together from four scenes; "
            "a phrase is sought among the patches of its quarter",
        ),
        (
            local and not c.mosaics,
            "the parts of a caption"
            if c.phrases == "caption"
            else "which phrases a picture holds",
            "cut by its commas and 'and's and sought among the picture's patches"
            if c.phrases == "caption"
            else "each is sought among the picture's patches",
        ),
        (
            local and c.every_name and c.mosaics,
            "all 416 names",
            "as negatives, and which of them a picture shows",
        ),
        (
            texts,
            "texts without a picture",
            f"{c.free_texts:,} {written}, with a sentence encoder's embedding "
            "and its opinion which categories they are about",
        ),
        (
            c.line_share,
            "lines about two things",
            "put together from training lines about one each",
        ),
    ]
    return [(what, how) for there, what, how in rows if there]


def _casts(config: PretrainConfig) -> str:
    if not config.posed_share:
        return ""
    return "; no scene shows together what one of these pictures shows"


def _masks(config: PretrainConfig) -> str:
    if config.ground == PretrainConfig.ground:
        return "No box and no mask was used in any loss or in the choice of a knob."
    return (
        "No box and no mask was used in any loss. That a quarter's background "
        f"weighs {config.ground:g} was set after a look at maps of validation scenes."
    )


def _licences(config: PretrainConfig) -> str:
    if not config.bank_weight and not config.teacher_weight:
        return "No other text and no other model was used."
    lines = [
        "The sentence encoder all-MiniLM-L6-v2 (Apache-2.0) gave targets for the "
        "text encoder; using the model does not need it."
    ]
    if config.corpus != "none":
        lines.append("Texts without a picture come from:\n")
        lines += [f"- {s.name} ({s.licence}): `{s.remedy}`" for s in SOURCES]
    return "\n".join(lines)


def _command(config: PretrainConfig) -> str:
    """The shortest command that trains by this recipe."""

    def changes(recipe: PretrainConfig) -> list[str]:
        pairs = ((f.name, getattr(config, f.name)) for f in fields(config))
        return [
            f"--set {name}={value}"
            for name, value in pairs
            if value != getattr(recipe, name) and name != "corpus"
        ]

    name = min(RECIPES, key=lambda known: len(changes(RECIPES[known])))
    return " ".join(
        ["python -m vlmtutor pretrain --recipe", name, *changes(RECIPES[name])]
    )


def _runs(about: dict) -> list[dict]:
    """What is noted of a model's runs, the first one first."""
    before = about.get("before")
    return [*(_runs(before) if before else []), about]


def _config(about: dict) -> PretrainConfig:
    known = {f.name for f in fields(PretrainConfig)}
    return PretrainConfig(**{k: v for k, v in about["config"].items() if k in known})


def _pairs(about: dict) -> int:
    return about["steps"] * _config(about).batch_size


def _canvas(config: PretrainConfig) -> str:
    if config.first_size == config.final_size:
        return f"all at {config.final_size} px"
    return (
        f"the last {config.final_share:.0%} of them at {config.final_size} px, "
        f"before that {config.first_size} px"
    ).replace("%", " %")


def _commands(runs: list[dict]) -> str:
    """A line for each run; one that goes on from another names its folder."""
    lines = [_command(_config(run)) for run in runs]
    if len(lines) == 1:
        return lines[0]
    lines = [f"{line} --folder runs/{k}" for k, line in enumerate(lines, 1)]
    return "\n".join(
        line + (f" --warm-start runs/{k}" if k else "") for k, line in enumerate(lines)
    )


def _begun(about: dict, before: list[dict]) -> str:
    """What a run began with."""
    if not about.get("origin"):
        return "From nothing."
    if not before:
        return f"Begun with the weights of {about['origin']}."
    parts = [
        f"{run['steps']:,} steps with {_pairs(run):,} pictures in "
        f"{_time(run['seconds'])}; a background's place weighed {_config(run).ground:g}"
        f"{'. ' + run['note'] if run.get('note') else '.'}"
        for run in before
    ]
    return f"Begun with the weights of a first run: {' '.join(parts)} Then"


def _time(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:.1f} hours" if hours >= 1 else f"{seconds / 60:.1f} minutes"


def card(folder: Path, about: dict) -> str:
    """The text of a card; ``about`` is what a run's ``log.json`` holds."""
    config, runs = _config(about), _runs(about)
    weights = (folder / "model.safetensors").stat().st_size
    label = shipped(folder.name)
    machine = about.get("machine", {})
    where = machine.get("device") or machine.get("system", "a machine not noted")
    quarters = f" and {config.mosaics} mosaics" if config.mosaics else ""
    quarters += f", with {config.text_batch:,} texts" if config.bank_weight else ""
    return CARD.substitute(
        asdict(config),
        name=label[0] if label else folder.name,
        folder=folder.name,
        parameters=f"{weights / 2e6:.1f}",
        megabytes=f"{weights / 1e6:.1f}",
        pairs=sum(map(_pairs, runs)),
        steps=f"{about['steps']:,}",
        pictures=f"{sum(map(_pairs, runs)):,}",
        casts=_casts(config),
        masks=_masks(config),
        told="\n".join(f"| {what} | {how} |" for what, how in told(config)),
        licences=_licences(config),
        origin=_begun(about, runs[:-1]),
        mosaics=quarters,
        canvas=_canvas(config),
        machine=f"{where}, {machine.get('cores', '?')} cores",
        time=_time(about["seconds"]),
        date=about.get("date", "date not noted"),
        note=about.get("note", ""),
        command=_commands(runs),
        figures="\n".join([FIGURES[0], "Not measured yet.", FIGURES[1]]),
    )


def write_card(folder: Path, about: dict) -> Path:
    """Write the card of a model's folder: ``README.md``."""
    path = Path(folder) / "README.md"
    path.write_text(card(Path(folder), about), encoding="utf-8")
    return path


def write_figures(folder: Path, figures: str) -> Path:
    """Put a table into the card of a model's folder, in place of the last.

    Raises ValueError where the card has no place for it.
    """
    path = Path(folder) / "README.md"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if not all(mark in text for mark in FIGURES):
        raise ValueError(f"{path} has no place for figures: {' … '.join(FIGURES)}")
    head, rest = text.split(FIGURES[0], 1)
    tail = rest.split(FIGURES[1], 1)[1]
    middle = f"{FIGURES[0]}\n{figures.strip()}\n{FIGURES[1]}"
    path.write_text(head + middle + tail, encoding="utf-8")
    return path


def pairs_seen(folder: Path) -> int | None:
    """How many pairs a model was trained with, as its card has it."""
    path = Path(folder) / "README.md"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for line in text.splitlines()[:12]:
        if line.startswith("pairs: "):
            return json.loads(line.removeprefix("pairs: "))
    return None
