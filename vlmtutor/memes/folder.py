"""The whole job: a folder of pictures and a list of captions make memes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm.auto import tqdm

from ..models.pictures import UnreadablePicture
from ..naming import even_cosine
from .cache import EmbeddingCache
from .captions import Captions, read_captions, unique_captions
from .embed import Embedder
from .hubs import CORRECTION, CORRECTIONS
from .legible import legible
from .letters import choose_face
from .listing import is_same, list_files, named
from .match import ASSIGNMENTS, match_embeddings, opened
from .options import one_of, temperature_of
from .outbox import HIDDEN, Outbox
from .placement import check_model
from .render import STYLES
from .report import Report, Skipped
from .writing import Writer

ENGINES = ("local", "ray")
IN_MEMORY = 1024  # embeddings in the cache; the others are in its folder


def caption_folder(
    folder: str | Path,
    captions: Sequence[str] | str | Path,
    out: str | Path,
    clip=None,
    *,
    style: str = "classic",
    assign: str = "best",
    correction: str | None = CORRECTION,
    temperature: float | None = None,
    upper: bool = False,
    font: str | Path | None = None,
    precision: str = "fp32",
    batch_size: int = 32,
    progress: bool = True,
    resume: bool = True,
    engine: str = "local",
) -> Report:
    """Write a meme for every picture of ``folder`` into ``out``.

    ``captions`` is a list of texts or the path of a file with one caption a
    line. ``clip`` is what ``load_clip`` returns; by default the model that
    comes with the package. ``style``, ``upper`` and ``font`` are those of
    ``render``, ``assign``, ``correction`` and ``temperature`` those of
    ``match``.

    ``out`` gets the memes (photos as JPEG, drawings as PNG), contact sheets
    (``gallery.png`` and so on) and ``report.json``. Files that are no
    readable pictures, or whose meme cannot be drawn or written, are skipped
    and named in the report with the reason; letters that no font here has
    are named in it too, and captions that the model cannot read; subfolders
    are not looked into. A JPEG of more than 80 million pixels becomes a meme
    of half its width and height.
    Nothing outside ``out`` is written, and nothing in it that an earlier
    run did not write is replaced. With ``resume`` a run goes on where an
    interrupted one stopped; without it, everything is computed again.
    Pictures are read one after the other, so memory does not grow with
    their number.

    With ``engine="ray"`` Ray Data decodes and encodes (``spread``): the
    result is the same.

    Raises FileNotFoundError or NotADirectoryError for a folder that is not
    there, ValueError for an empty one or a name that none can have, for no
    captions that can be read, or if ``out`` is ``folder`` itself, OSError for a
    font that is none or if ``out`` cannot be written, TypeError for a model's
    mere name.
    """
    one_of(STYLES, style, "style")
    one_of(ASSIGNMENTS, assign, "assignment")
    one_of(CORRECTIONS, correction, "correction")
    one_of(ENGINES, engine, "engine")
    if font is not None:
        choose_face("", font)
    folder, out = named(folder), named(out)
    progress = progress and sys.stderr is not None  # as without a terminal
    texts, text_file = _captions(captions)
    names, skipped = _list_folder(folder, out, text_file)
    if clip is None:
        from ..models import load_clip

        clip = load_clip()
    texts = legible(texts, opened(clip))
    if not texts:
        raise ValueError(f"no captions: {texts.unread[0]}")
    if style == "auto":
        check_model(clip)
    if temperature is None:
        temperature = 1 / float(clip.logit_scale)
    temperature, upper = temperature_of(temperature), bool(upper)
    limit = IN_MEMORY if resume else max(IN_MEMORY, len(names))
    cache = EmbeddingCache(stored_embeddings(out) if resume else None, limit=limit)
    embedder = Embedder(clip, cache, precision, batch_size)
    box = Outbox(out)

    if engine == "ray":
        from .spread import fill

        with tqdm(desc="sharing", unit="picture", disable=not progress) as bar:
            files = [folder / name for name in names]
            fill(embedder, files, lambda done, _: bar.update(done - bar.n))
    stream = embedder.contents(
        folder / name for name in names
    )  # read ahead while texts are encoded
    with tqdm(
        desc="reading", total=len(texts), unit="caption", disable=not progress
    ) as bar:
        text_embeds = embedder.texts(texts, lambda done, _: bar.update(done - bar.n))
    readable, image_embeds, unreadable = _embed(names, stream, progress)
    skipped += unreadable
    if not readable:
        image_embeds = text_embeds[:0]
    matches = match_embeddings(
        image_embeds,
        text_embeds,
        texts,
        assign,
        temperature,
        correction,
        float(clip.logit_scale),
        even_cosine(clip),
    )
    settings = {
        "model": str(getattr(clip, "name", "")),
        "style": style,
        "assign": assign,
        "correction": correction,
        "temperature": temperature,
        "upper": upper,
        "font": None if font is None else str(font),
        "precision": embedder.precision,
        "captions": len(texts),
    }
    report = Report(out, settings, matches, skipped=skipped)
    report.notes += texts.notes()
    drawing = {"style": style, "upper": upper, "font": font}
    writer = Writer(report, box, folder, _relative(folder, out), drawing, clip, resume)
    writer.draw_all(readable, progress)
    writer.draw_galleries()
    writer.write_report()
    return report


def stored_embeddings(out: str | Path) -> Path:
    """Where ``caption_folder`` keeps the embeddings of a run into ``out``."""
    return Path(out) / HIDDEN


def _captions(captions) -> tuple[Captions, str | None]:
    if isinstance(captions, (str, os.PathLike)):
        path = os.path.expanduser(captions)
        return read_captions(path), os.path.realpath(path)
    texts = unique_captions(captions)
    if not texts:
        raise ValueError("no captions: give at least one that is not empty")
    return texts, None


def _relative(folder: Path, out: Path) -> str:
    """A folder as seen from another: both may be moved together."""
    folder, out = os.path.realpath(folder), os.path.realpath(out)
    try:
        return Path(os.path.relpath(folder, out)).as_posix()
    except ValueError:  # on another drive
        return Path(folder).as_posix()


def _list_folder(
    folder: Path, out: Path, text_file: str | None
) -> tuple[list[str], list[Skipped]]:
    """The names of a folder's files, and what is not looked at."""
    if is_same(folder, out):
        raise ValueError(
            f"the memes cannot go into {folder} itself, next to the "
            "pictures: name another folder"
        )
    files, skipped = list_files(folder, (os.path.realpath(out), text_file))
    if not files:
        raise ValueError(f"no files in {folder}: put some pictures there")
    return [path.name for path in files], skipped


def _embed(names: list[str], stream: Iterator, progress: bool):
    """The readable files with their digests, embeddings [N, D], the others."""
    readable, skipped = {}, []
    embeds = None  # one table: thousands of small tensors scatter the memory
    rows_of = tqdm(
        zip(names, stream, strict=True),
        "looking",
        len(names),
        unit="picture",
        disable=not progress,
    )
    for name, (digest, row) in rows_of:
        if isinstance(row, UnreadablePicture):
            skipped.append(Skipped(name, str(row)))
        else:
            if embeds is None:
                embeds = row.new_empty(len(names), len(row))
            embeds[len(readable)] = row
            readable[name] = digest
    return (readable, None if embeds is None else embeds[: len(readable)], skipped)
