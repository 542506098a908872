"""Solutions to the exercises of 13_seg_pixel_meets_text, with the reasons."""

import torch

from vlmtutor.distill.bench.protocol import Bench, Bounds, Protocol
from vlmtutor.distill.segmentation import maskclip, zegclip
from vlmtutor.distill.supervision import Masked


def film(x, scale, shift):
    """Tokens [N, T, W]; scale and shift [N, W] → [N, T, W].

    One question a picture: the new axis lets it speak to all tokens.
    """
    return scale[:, None] * x + shift[:, None]


def labels_of(maps, seen, offset, background):
    """Maps [C, h, w], seen bool [C] → labels [h, w]; background is C.

    Were the offset taken before the background is decided, seen things would
    go to the ground and not to novel names.
    """
    thing = maps.amax(0) > background
    fair = maps - offset * seen[:, None, None].float()
    return torch.where(thing, fair.argmax(0), len(maps))


SIZES = Bounds(masks=96, captions=16, test=24)
PLACES = {  # five base names play novel ones where things are tried
    "val": Protocol(9, sizes=SIZES).pseudo(),
    "test": Protocol(0, sizes=SIZES),
}


def outlines_and_names(clip, protocol, steps=40):
    """Exercise 5: scores of both parents, and of outlines with names.

    ZegCLIP, trained on base masks, says what is a thing; untrained patches
    say which.
    """
    bench = Bench(clip, protocol)
    outlines = zegclip.fit(
        clip, bench.data(Masked), protocol.seed, steps=steps
    )
    names, test = maskclip.MaskCLIP(clip), bench.test_pictures
    results_of = {
        "MaskCLIP": bench.answer(names),
        "ZegCLIP": bench.answer(outlines, seen=bench.seen),
    }
    C, drawn_maps = len(bench.names), []
    for part in test.batches(8):
        drawn = outlines.scores(part, bench.names)
        thing = drawn[:, :C].amax(1) > drawn[:, C]
        called = names.scores(part, bench.names)[:, :C].argmax(1)
        drawn_maps.append(torch.where(thing, called, C))
    results_of["both"] = bench.judge(torch.cat(drawn_maps).short())
    return {name: result.scores() for name, result in results_of.items()}
