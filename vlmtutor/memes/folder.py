"""The whole job: a folder of pictures and a list of captions make memes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from tqdm.auto import tqdm

from ..models.pictures import UnreadablePicture, decode_picture, read_bytes
from . import gallery
from .cache import EmbeddingCache
from .captions import read_captions, unique_captions
from .embed import Embedder
from .hubs import CORRECTION, CORRECTIONS
from .letters import choose_face
from .match import ASSIGNMENTS, Matches, match_embeddings
from .names import safe_stem
from .options import one_of
from .outbox import HIDDEN, Outbox
from .render import STYLES, render
from .report import Meme, Report, Skipped

ALTERNATIVES = 3  # in the report
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

    ``out`` gets the memes, contact sheets (``gallery.png`` and so on) and
    ``report.json``. Files that are no readable pictures are skipped and
    named in the report with the reason; subfolders are not looked into.
    Nothing outside ``out`` is written, and nothing in it that an earlier
    run did not write is replaced. With ``resume`` a run goes on where an
    interrupted one stopped; without it, everything is computed again.
    Pictures are read one after the other, so memory does not grow with
    their number.

    With ``engine="ray"`` Ray Data decodes and encodes (``spread``): the
    result is the same.

    Raises FileNotFoundError or NotADirectoryError for a folder that is not
    there, ValueError for an empty one, for no captions, or if ``out`` is
    ``folder`` itself, OSError for a font that is none or if ``out`` cannot
    be written.
    """
    one_of(STYLES, style, "style")
    one_of(ASSIGNMENTS, assign, "assignment")
    one_of(CORRECTIONS, correction, "correction")
    one_of(ENGINES, engine, "engine")
    if font is not None:
        choose_face("", font)
    texts, text_file = _captions(captions)
    files, skipped = _list_folder(Path(folder), Path(out), text_file)
    if clip is None:
        from ..models import load_clip

        clip = load_clip()
    if temperature is None:
        temperature = 1 / float(clip.logit_scale)
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    limit = IN_MEMORY if resume else max(IN_MEMORY, len(files))
    cache = EmbeddingCache(stored_embeddings(out) if resume else None, limit=limit)
    embedder = Embedder(clip, cache, precision, batch_size)
    box = Outbox(out)

    if engine == "ray":
        from .spread import fill

        with tqdm(desc="sharing", unit="picture", disable=not progress) as bar:
            fill(embedder, files, lambda done, _: bar.update(done - bar.n))
    stream = embedder.contents(files)  # read ahead while texts are encoded
    with tqdm(
        desc="reading", total=len(texts), unit="caption", disable=not progress
    ) as bar:
        text_embeds = embedder.texts(texts, lambda done, _: bar.update(done - bar.n))
    readable, image_embeds, unreadable = _embed(files, stream, progress)
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
    report = Report(Path(out), settings, skipped=skipped)
    drawing = {"style": style, "upper": upper, "font": font}
    _draw_all(report, box, readable, matches, drawing, resume, progress)
    report.skipped.sort(key=lambda skip: skip.name)
    _draw_galleries(report, box)
    _write_report(report, box)
    return report


def stored_embeddings(out: str | Path) -> Path:
    """Where ``caption_folder`` keeps the embeddings of a run into ``out``."""
    return Path(out) / HIDDEN


def _captions(captions) -> tuple[list[str], str | None]:
    if isinstance(captions, (str, Path)):
        return read_captions(captions), os.path.realpath(captions)
    texts = unique_captions(captions)
    if not texts:
        raise ValueError("no captions: give at least one that is not empty")
    return texts, None


def _list_folder(
    folder: Path, out: Path, text_file: str | None
) -> tuple[list[Path], list[Skipped]]:
    """The files of a folder, by name, and what is not looked at."""
    if not folder.exists():
        raise FileNotFoundError(f"there is no folder {folder}")
    if not folder.is_dir():
        raise NotADirectoryError(f"not a folder: {folder}")
    if os.path.realpath(folder) == os.path.realpath(out):
        raise ValueError(
            f"the memes cannot go into {folder} itself, next to the "
            "pictures: name another folder"
        )
    ours = (os.path.realpath(out), text_file)
    files, skipped = [], []
    for path in sorted(folder.iterdir()):
        if os.path.realpath(path) in ours:
            continue
        if path.name.startswith("."):
            skipped.append(Skipped(path.name, "hidden"))
        elif path.is_dir():
            skipped.append(Skipped(path.name, "a folder: not looked into"))
        else:
            files.append(path)
    if not files:
        raise ValueError(f"no files in {folder}: put some pictures there")
    return files, skipped


def _embed(files: list[Path], stream: Iterator, progress: bool):
    """The readable files with their digests, embeddings [N, D], the others."""
    readable, skipped = {}, []
    embeds = None  # one table: thousands of small tensors scatter the memory
    rows_of = tqdm(
        zip(files, stream, strict=True),
        "looking",
        len(files),
        unit="picture",
        disable=not progress,
    )
    for path, (digest, row) in rows_of:
        if isinstance(row, UnreadablePicture):
            skipped.append(Skipped(path.name, str(row)))
        else:
            if embeds is None:
                embeds = torch.empty(len(files), len(row), dtype=row.dtype)
            embeds[len(readable)] = row
            readable[path] = digest
    return (readable, None if embeds is None else embeds[: len(readable)], skipped)


def _draw_all(
    report: Report,
    box: Outbox,
    files: dict[Path, bytes],
    matches: Matches,
    drawing: dict,
    resume: bool,
    progress: bool,
) -> None:
    """Draw the meme of each picture; note each in the report."""
    paths = tqdm(files, "writing", unit="meme", disable=not progress)
    for i, path in enumerate(paths):
        choice = matches.choice(i)
        if choice is None:
            reason = "no caption left: there are more pictures than captions"
            report.skipped.append(Skipped(path.name, reason))
            continue
        try:
            data = read_bytes(path)
            if hashlib.sha256(data).digest() != files[path]:
                raise UnreadablePicture("changed during the run: run it again")
            made, written = _draw_one(box, path, data, choice.caption, drawing, resume)
        except UnreadablePicture as reason:
            report.skipped.append(Skipped(path.name, str(reason)))
            continue
        report.written += written
        others = tuple(matches.alternatives_of(i, ALTERNATIVES))
        meme = Meme(
            path.name,
            made.name,
            choice.caption,
            choice.score,
            choice.probability,
            others,
        )
        report.memes.append(meme)


def _draw_one(box, path, data, caption, drawing, resume) -> tuple[Path, bool]:
    suffix, save = _format(path)

    def make(part: Path) -> None:
        picture = decode_picture(data)
        try:
            meme = render(picture, caption, **drawing)
        except ValueError as reason:  # too small to write on
            raise UnreadablePicture(str(reason)) from None
        meme.save(part, **save)

    key = _digest(hashlib.sha256(data).hexdigest(), caption, drawing)
    role, stem = f"picture {path.name}", _stem(path.name)
    return box.write(role, stem, suffix, key, make, again=not resume)


def _stem(name: str) -> str:
    """A safe name that is none of the gallery's or the report's."""
    stem = safe_stem(name)
    ours = stem.casefold().startswith(("gallery", "report"))
    return f"picture-{stem}" if ours else stem


def _format(path: Path) -> tuple[str, dict]:
    """Photos stay JPEG, because a PNG of one is many times as large."""
    if path.suffix.lower() in (".jpg", ".jpeg"):
        return ".jpg", {"format": "JPEG", "quality": 92, "subsampling": 0}
    return ".png", {"format": "PNG"}


def _draw_galleries(report: Report, box: Outbox) -> None:
    by_file = [f"picture {meme.source}" for meme in report.memes]
    wanted = set()
    for number, page in enumerate(gallery.pages(len(report.memes)), start=1):
        paths = [report.out / report.memes[i].file for i in page]
        key = _digest([box.digest(by_file[i]) for i in page])
        role, stem = f"gallery {number}", "gallery"
        stem += "" if number == 1 else f"-{number}"
        made, _ = box.write(
            role,
            stem,
            ".png",
            key,
            lambda part, paths=paths: gallery.draw_page(paths).save(part, format="PNG"),
        )
        report.galleries.append(made)
        wanted.add(role)
    for role in box.roles():  # pages that a longer run left behind
        if role.startswith("gallery ") and role not in wanted:
            box.remove(role)


def _write_report(report: Report, box: Outbox) -> None:
    text = report.to_json()
    report.path, _ = box.write(
        "report",
        "report",
        ".json",
        _digest(text),
        lambda part: part.write_text(text, encoding="utf-8"),
    )


def _digest(*parts: object) -> str:
    text = json.dumps(parts, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
