"""Few-shot tables of the prompts in pixels and patches of notebook 09.

Every step of a visual prompt runs the picture encoder forwards and backwards:
fewer shots and test pictures than elsewhere.  All methods see as many pictures
as CoOp does in notebook 08, 3,200, and all rows have their step 0.
"""

from __future__ import annotations

from ..transfer import get_fit
from ..transfer.claims import VISUAL
from ..transfer.few_shot import accuracy
from ..transfer.tasks import make_task
from .experiment import Experiment, open_backbone
from .transfer import PHRASECLIP, Method, Study, learn, outline

STEPS = {"steps": 200}  # of 16 pictures: 3,200 views
UPT_LR, MAPLE_LR = {"lr": (3e-4, 1e-3, 3e-3)}, {"lr": (2e-3, 5e-3)}
FEWER = 3  # seeds of MaPLe and of VP's distances: too few for a verdict

STUDY = Study(
    methods={
        "zero-shot": Method("zero-shot", learns=False),
        "hand prompt": Method("hand prompt", learns=False),
        "CoOp": Method(
            "CoOp", {"steps": 200, "batch_size": 16}, {"lr": (1e-3, 3e-3, 1e-2)}
        ),
        # each arm at a rate of its own: one that suits both may suit neither
        "UPT": Method("UPT", STEPS, UPT_LR),
        "UPT, text alone": Method("UPT", {"arms": "text", **STEPS}, UPT_LR),
        "UPT, pictures alone": Method("UPT", {"arms": "pictures", **STEPS}, UPT_LR),
        "VPT-deep": Method("VPT-deep", STEPS, {"lr": (3e-3, 1e-2)}),
        "VPT-shallow": Method("VPT-shallow", STEPS, {"lr": (3e-3, 1e-2)}),
        # a frame of 47 % of the pixels, as the authors' (46 %), and time to settle
        "VP": Method("VP", {"width": 13, **STEPS}, {"lr": (1e-3, 3e-3, 1e-2)}),
        "MaPLe": Method("MaPLe", STEPS, MAPLE_LR),
        # MaPLe with visual tokens of their own (the paper's IVLP)
        "independent": Method("MaPLe", {"coupled": False, **STEPS}, MAPLE_LR),
    },
    tasks={("mixed", "sketch"): (16,), ("faces", "pixel"): (16,)},
    checks=VISUAL,
    search_shots=(16,),
    search_pictures=4,
    n_test=6,
    n_kept=4,
)

# Does VP help more, the further away the pictures are?  Strengths of sketch.
DISTANCES = (0.0, 0.5, 1.0)


def choose(name: str, backbone: str) -> dict:
    """The search of a method; VP's, on the first task, for the distances."""
    if name != "distances":
        return STUDY.choose(name, backbone)
    found = STUDY.choose("VP", backbone)
    return {**found, "chosen": next(iter(found["chosen"].values()))}


def distances(name: str, seed: int, backbone: str, chosen: dict) -> dict:
    """VP and zero-shot on base classes, for sketches of several strengths."""
    clip, rows = open_backbone(backbone), []
    for strength in DISTANCES:
        task = make_task(
            clip, "mixed", "sketch", strength=strength, n_test=STUDY.n_test
        )
        test = task.test("base", seed)
        train = task.shots(16, seed, "base")
        before = get_fit("zero-shot")(clip, None, None, test.classes)
        predictor = learn(STUDY.methods["VP"], train, seed, **chosen)
        scores = {
            "zero_shot": round(accuracy(before, test), 4),
            "VP": round(accuracy(predictor, test), 4),
        }
        name = f"strength {strength}"
        steps = STUDY.methods["VP"].steps
        rows.append(
            {"row": name, "strength": strength, "scores": scores, "steps": steps}
            | {"losses": outline(predictor.losses)}
        )
    return {"rows": rows}


EXPERIMENT = Experiment(
    name="09_visual_and_unified_prompts",
    about="VP, VPT, UPT and MaPLe: few-shot tables, and VP at three distances",
    parts={**dict.fromkeys(STUDY.methods, STUDY.measure), "distances": distances},
    fewer=dict.fromkeys(("MaPLe", "independent", "distances"), FEWER),
    backbones=(PHRASECLIP,),
    choose=choose,
    compare=STUDY.compare,
    code=lambda name: STUDY.code("VP" if name == "distances" else name),
)
