"""What there is to see: stickers, scenes, captions, boxes, masks, splits."""

from .captions import Caption, CaptionMix, complete_caption, random_caption
from .categories import Category, find_category, load_categories
from .domains import DOMAINS
from .layout import Layout, Placement, random_layout
from .ledger import seeds, seeds_of
from .scenes import Scene, SceneObject, StickerWorld

__all__ = [
    "DOMAINS", "Caption", "CaptionMix", "Category", "Layout", "Placement",
    "Scene", "SceneObject", "StickerWorld", "complete_caption",
    "find_category", "load_categories", "random_caption", "random_layout",
    "seeds", "seeds_of",
]  # fmt: skip
