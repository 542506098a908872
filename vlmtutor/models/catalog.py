"""The CLIPs that the course offers, and what one may know before opening."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from .checkpoint import WEIGHTS, faults

HERE = Path(__file__).parent
STICKERCLIP = HERE / "stickerclip"
RUNS = "runs"  # where you save what you train


@dataclass(frozen=True)
class Known:
    """A CLIP: ``id`` is what ``load_clip`` takes, ``label`` what to call it.

    ``megabytes`` (10^6 bytes) are those of its weights.  ``revision`` is the
    commit of the hub that is fetched; None for what is no model of the hub.
    ``is_here`` tells whether it opens without a network.
    """

    id: str
    label: str
    purpose: str
    megabytes: int
    licence: str
    revision: str | None = None
    is_here: bool = False


SHIPPED = (
    Known(
        "StickerCLIP",
        "StickerCLIP",
        "the course's own: names, retrieves and captions stickers",
        21,
        "CC BY-SA 4.0",
    ),
    Known(
        "PairCLIP",
        "PairCLIP",
        "its twin, told pairs of pictures and captions and nothing else",
        21,
        "CC BY-SA 4.0",
    ),
    Known(
        "PhraseCLIP",
        "PhraseCLIP",
        "told the same; parts of its captions were sought among the patches",
        21,
        "CC BY-SA 4.0",
    ),
)

# By size.  Safetensors only, under licences that allow any use.
ON_HUB = (
    Known(
        "wkcn/TinyCLIP-ViT-8M-16-Text-3M-YFCC15M",
        "TinyCLIP 8M/16",
        "photographs, in a sixth of OpenAI's size: the one to try first",
        94,
        "MIT",
        "a2a8c6eaa2549ad66eb7c31b85022bf58273a26c",
    ),
    Known(
        "wkcn/TinyCLIP-ViT-40M-32-Text-19M-LAION400M",
        "TinyCLIP 40M/32",
        "photographs, nearly as well as OpenAI's in half its size",
        337,
        "MIT",
        "95ec8197b3f2fe7f747865c61ca556cf0768b2f7",
    ),
    # The hub's conversion of OpenAI's weights to safetensors.  Its main branch
    # (3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268) holds the same weights, but
    # only pickled.
    Known(
        "openai/clip-vit-base-patch32",
        "OpenAI's CLIP, ViT-B/32",
        "the model of the paper, which others compare with",
        605,
        "MIT",
        "c237dc49a33fc61debc9276459120b7eac67e7ef",
    ),
    Known(
        "google/siglip-base-patch16-224",
        "SigLIP, base/16",
        "the best with photographs; each text has a probability of its own",
        813,
        "Apache-2.0",
        "7fd15f0689c79d79e38b1c2e2e2370a7bf2761ed",
    ),
)
PINNED = {known.id: known.revision for known in ON_HUB}


def shipped(name: str) -> tuple[str, Path] | None:
    """The id and folder of a CLIP in the package; None for other names."""
    for known in SHIPPED:
        if known.id.lower() == name.lower():
            return known.id, STICKERCLIP.with_name(name.lower())
    return None


def local() -> list[Known]:
    """Those in the package, the folders beside them, and those in ``runs``.

    ``runs`` is looked for here, one folder up and in the project.
    """
    ours = {shipped(known.id)[1]: known for known in SHIPPED}
    found = [replace(k, is_here=True) for folder, k in ours.items() if folder.is_dir()]
    roots = (Path(), Path(".."), HERE.parents[1])
    runs = next((root / RUNS for root in roots if (root / RUNS).is_dir()), None)
    for parent in filter(None, (STICKERCLIP.parent, runs)):
        for folder in sorted(parent.iterdir()):
            if folder in ours or not folder.is_dir() or faults(folder):
                continue
            label = folder.name.replace("_", " ")
            if label in {known.label for known in found}:
                label = str(folder)
            file = folder / WEIGHTS
            size = round(file.stat().st_size / 1e6) if file.is_file() else 0
            yours = "trained on this computer"
            found.append(
                Known(str(folder), label, yours, size, "your own", is_here=True)
            )
    return found
