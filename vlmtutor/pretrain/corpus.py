"""Texts that people wrote and that no picture goes with.

Dictionary glosses and examples (WordNet), aphorisms and jokes (fortunes), and
keywords that people look for an emoji by (emojilib).  They come as packages:

    apt-get install wordnet-base fortunes fortunes-min
    npm install --prefix runs emojilib

or lie in the folder that the knob ``corpus`` names, each in a folder of its
own: ``wordnet``, ``fortunes`` and ``emojilib``.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

from ..world import load_categories

COMBINATIONS = 6  # of keywords, for each category


@dataclass(frozen=True)
class Source:
    """Where some texts come from; ``file`` is one that the folder holds."""

    name: str
    place: str
    file: str
    remedy: str
    licence: str

    def folder(self, corpus: str = "") -> Path:
        """Where it lies; FileNotFoundError says what to install."""
        folder = Path(corpus) / self.name if corpus else Path(self.place)
        if not (folder / self.file).exists():
            raise FileNotFoundError(
                f"no {self.name} in {folder}: {self.remedy}, or "
                "--set corpus=FOLDER, or --set corpus=none to go without"
            )
        return folder


WORDNET = Source(
    "wordnet",
    "/usr/share/wordnet",
    "data.noun",
    "apt-get install wordnet-base",
    "WordNet 3.0 license, Princeton University",
)
FORTUNES = Source(
    "fortunes",
    "/usr/share/games/fortunes",
    "fortunes",
    "apt-get install fortunes fortunes-min",
    "BSD, The Regents of the University of California; sayings of many people",
)
EMOJILIB = Source(
    "emojilib",
    "runs/node_modules/emojilib/dist",
    "emoji-en-US.json",
    "npm install --prefix runs emojilib",
    "MIT, Mu-An Chiou",
)
SOURCES = (WORDNET, FORTUNES, EMOJILIB)


def wordnet(folder: Path) -> list[str]:
    """Each meaning's gloss, its examples, and its words where they are several.

    Two glosses of three follow their word, as a dictionary has it.
    """
    texts = []
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text("utf-8").splitlines():
            if line.startswith(" "):  # the licence
                continue
            # wndb(5WN): offset, file, kind, number of words in hexadecimal,
            # then each word with a digit behind it
            head, _, gloss = line.partition(" | ")
            fields = head.split()
            words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
            words = [_spelled(word) for word in words]
            examples = re.findall(r'"([^"]+)"', gloss)
            meaning = re.sub(r';?\s*"[^"]*"', "", gloss).strip(" ;")[:200]
            if meaning:
                form = ("{1}", "{0}: {1}", "{0}, {1}")[len(texts) % 3]
                texts.append(form.format(words[0], meaning))
            texts += [e.strip() for e in examples if len(e.split()) > 2]
            texts += [word for word in words[:2] if " " in word]
    return list(dict.fromkeys(texts))


def _spelled(word: str) -> str:
    """ "hot_dog" → "hot dog"; "ready(a)", as adjectives have it → "ready"."""
    return re.sub(r"\([a-z]+\)$", "", word).replace("_", " ").lower()


def fortunes(folder: Path) -> list[str]:
    """The sentences of all sayings, 3 to 30 words long, without who said it."""
    texts = []
    for path in sorted(folder.iterdir()):
        if path.suffix or not path.is_file() or path.name == "ascii-art":
            continue
        for saying in path.read_text("utf-8", errors="ignore").split("\n%\n"):
            saying = re.sub(r"\n\s*--.*", "", saying, flags=re.DOTALL)
            sentences = re.split(r"(?<=[.!?])\s+", " ".join(saying.split()))
            texts += [s for s in sentences if 3 <= len(s.split()) <= 30]
    return list(dict.fromkeys(texts))


def written_texts(corpus: str = "") -> list[str]:
    """All of WordNet and fortunes, shuffled, so that any number is a sample.

    Raises FileNotFoundError, in one line with the remedy.
    """
    texts = wordnet(WORDNET.folder(corpus)) + fortunes(FORTUNES.folder(corpus))
    texts = list(dict.fromkeys(texts))
    random.Random(0).shuffle(texts)
    return texts


def keyword_texts(corpus: str = "") -> tuple[list[str], list[int]]:
    """One to four keywords of a category's emoji together, and which it is.

    Raises FileNotFoundError, in one line with the remedy.
    """
    file = EMOJILIB.folder(corpus) / EMOJILIB.file
    table = json.loads(file.read_text("utf-8"))
    table = {char.replace("\ufe0f", ""): words for char, words in table.items()}
    rng, texts, labels = random.Random(0), [], []
    for category in load_categories():
        words = table.get(category.char.replace("\ufe0f", ""), [])
        words = [w.replace("_", " ") for w in words if re.search("[a-z]{2}", w)]
        for _ in range(COMBINATIONS if words else 0):
            some = rng.sample(words, min(len(words), rng.randint(1, 4)))
            texts.append(" ".join(some))
            labels.append(category.index)
    return texts, labels
