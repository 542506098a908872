"""Can the notebooks' claims fail?  Change something and see that they do.

``python tests/benchmarks/perturb_claims.py [NAME …] [--alone]`` runs a notebook
once with all of its changes below (or, with ``--alone``, once for each) and
with claims that are noted instead of raised, up to the last claim that a change
names.  Each change must make its claim fail.  What was found is written to
``notebooks/results/perturbed/``, with date and machine; the exit code is 1 where a
claim stood firm.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat

from vlmtutor import notebooks, stored

FOLDER = stored.FOLDER / "perturbed"


@dataclass(frozen=True)
class Change:
    """In the one cell that holds ``old`` it becomes ``new``.

    ``claim`` begins the sentence of the claim that must then fail.  Changes
    of one notebook are made together: choose such that do not meet.
    """

    old: str
    new: str
    claim: str


CHANGES: dict[str, tuple[Change, ...]] = {
    "00": (
        Change(
            't.replace("{}", names[0]) for t',
            't.replace("{}", names[1]) for t',
            "a row is the mean of a name's sentences",
        ),
        Change(
            "truth = torch.tensor([names.index(s.objects[0].name) for s in scenes])",
            "truth = torch.randint(416, (100,))",
            "the model names unseen scenes 100 times better than chance",
        ),
        Change(
            "captions = [s.caption for s in eight]",
            "captions = [s.caption for s in eight[::-1]]",
            "nearly every caption finds its own picture",
        ),
        Change(
            "clip.encode_texts([s.caption for s in traded])",
            "clip.encode_texts([s.caption for s in traded[::-1]])",
            "it binds no better than a guess",
        ),
    ),
    "01": (
        Change(
            "torch.rad2deg(torch.atan2(down, across)) % 180",
            "torch.rad2deg(torch.atan2(across, down)) % 180 / 2",
            "scikit-image computes the same histogram",
        ),
        Change(
            ".fit(hog_of(few.images), few.labels)",
            ".fit(hog_of(few.images), few.labels.roll(7 * k))",
            "with 16 labels, hand-made features beat guessing twice over",
        ),
        Change(
            "[[[[-1.0, 0.0, 1.0]]]]",
            "[[[[1.0, 0.0, -1.0]]]]",
            "HOG starts with a convolution",
        ),
        Change(
            "return torch.relu(x + self.layers(x))",
            "return torch.relu(self.layers(x))",
            "with the same weights, our network gives the same scores",
        ),
        Change(
            "        optimizer.zero_grad()\n",
            "",
            "five steps of our loop end at the weights of the package's loop",
        ),
    ),
    "02": (
        Change(
            "is_word = torch.tensor([False, False, True, True])",
            "is_word = torch.tensor([False, True, True, True])",
            "a mask that keeps patches and words apart makes two towers of one",
        ),
        Change(
            "scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5",
            "scores = q @ k.transpose(-1, -2)",
            "our attention is CLIP's attention",
        ),
        Change(
            "rows = squares.permute(0, 2, 3, 1, 4, 5).flatten(3)",
            "rows = squares.permute(0, 2, 3, 1, 5, 4).flatten(3)",
            "patch embedding is a convolution with stride P",
        ),
        Change(
            "pull(ids), pull(ids.flip(0))",
            "pull(ids), pull(ids.clone())",
            "other captions, other gradients in the image encoder",
        ),
    ),
    "03": (
        Change(
            "columns = F.cross_entropy(logits.T, own)  # captions choose pictures",
            "columns = rows",
            "our loss is that of CLIPModel, to a millionth",
        ),
        Change(
            "mistaken[2, 1] = 0.8",
            "mistaken[2, 1] = 0.4",
            "one mistake pushes back",
        ),
        Change(
            "careless.logit_scale.data.fill_(10.0)",
            "careless.logit_scale.data.fill_(3.0)",
            "the scale stops at 100",
        ),
        Change(
            "cosines = image_embeds @ text_embeds.T",
            "cosines = image_embeds @ text_embeds.roll(1, 0).T",
            "these rows are sure at CLIP's temperature and unsure at 1",
        ),
        Change(
            "partners = torch.tensor([2, 3, 0, 1])",
            "partners = torch.tensor([1, 0, 3, 2])",
            "four lines are the package's loss",
        ),
        Change(
            "target = right / right.sum(dim=1, keepdim=True)",
            "target = right.float()",
            "our loss is the package's",
        ),
    ),
    "04": (
        Change(
            "train, 220, lr=4e-3",
            "train, 1, lr=4e-3",
            "it paints better than the mean colour",
        ),
        Change(
            "model.word_logits(images[:half], holes",
            "model.word_logits(None, holes",
            "looking makes colours and places likelier",
        ),
        Change(
            "word_loss(logits[:, :-1], labels)",
            "word_loss(logits[:, 1:], labels)",
            "our loss is GPT-2's",
        ),
        Change(
            "_ = writer.image.load_state_dict(reader.image.state_dict())",
            "pass",
            "the writer sees as the reader does",
        ),
    ),
    "05": (
        Change(
            "weights = logits.softmax(dim=1)",
            "weights = logits.softmax(dim=0)",
            "the package draws with these chances",
        ),
        Change(
            "for name, hard in matching.NEGATIVES.items():",
            "for name, hard in dict(contrast=None, random=1, hard=1).items():",
            "random negatives are learned in this time",
        ),
        Change(
            "ours = rerank(model, seen, top=10)",
            "ours = rerank(model, seen, top=50)",
            "a shortlist costs less than a tenth",
        ),
        Change(
            "alpha = torch.where(yes > 0, 0.25, 0.75)",
            "alpha = torch.where(yes > 0, 0.75, 0.25)",
            "by hand as in the package",
        ),
        Change(
            "maps[name] = heat(model, test)",
            "maps[name] = heat(model, test).flip(1)",
            "captions alone teach of it, too",
        ),
    ),
    "06": (
        Change(
            "logits = logits.masked_fill(others, -math.inf)",
            "pass",
            "our loss is the package's",
        ),
        Change(
            "optimizer.step()",
            "pass",
            "from random numbers to a zero-shot model",
        ),
        Change(
            "lesson.Part(easy, torch.arange(250))",
            "lesson.Part(easy, torch.arange(3000))",
            "250 scenes: a lower loss in training",
        ),
        Change(
            "lesson.shuffled(easy, 0.4, SEED)",
            "lesson.shuffled(easy, 1.0, SEED)",
            "a model that learned from dirt",
        ),
    ),
    "07": (
        Change(
            "read(clip, words, path) for path in",
            "read(clip, words.flip(0), path) for path in",
            "a frozen model segments 65 classes",
        ),
        Change(
            "table[number - 1, scores.argmax()] += 1",
            "table[number - 1, number - 1] += 1",
            "counting is near blind choice",
        ),
        Change(
            "[complete_caption(s.layout.swap_stickers()).text for s in pairs]",
            '["a dragon" for s in pairs]',
            "who is above whom: like a coin",
        ),
        Change(
            "labeled(s, word=name)",
            "labeled(s, art=name)",
            "a word never makes it say that word",
        ),
    ),
    "12": (
        Change(
            "z = x + last.self_attn.out_proj(v)",
            "z = last.self_attn.out_proj(v)",
            "the identity for attention",
        ),
        Change(
            "alike * (owner[:, :, None] == owner[:, None])",
            "alike * (owner[:, :, None] != owner[:, None])",
            "among its equals the same vote is better",
        ),
        Change(
            "torch.allclose(gradient, by_hand)",
            "torch.allclose(gradient, -by_hand)",
            "y(1 - y) for itself",
        ),
        Change(
            "+ area * P.mean()",
            "- area * P.mean()",
            "with a = 200 the thing's mask costs least",
        ),
        Change(
            "best = (flat @ flat.T).unflatten(1, (3, 3)).amax(-1)",
            "best = (flat @ flat.T).unflatten(1, (3, 3)).amin(-1)",
            "the module's seeds",
        ),
        Change(
            '"told where": torch.where(own.truth < C, scores[:, :C].argmax(1), C)',
            '"told where": scores.argmax(1)',
            "where things are is worth far more",
        ),
    ),
    "13": (
        Change(
            "counted = truth != 255",
            "counted = truth != 254",
            "a softmax over all labels is the loss",
        ),
        Change(
            "cells, places).amax(1, True)",
            "cells, places).mean(1, True)",
            "this is LSeg",
        ),
        Change(
            "told = decoder.scale(question) * level + decoder.shift(question)",
            "told = level + decoder.shift(question)",
            "this is what its first block reads",
        ),
        Change(
            "torch.cat([W * picture[:, None], W.expand(2, -1, -1)], -1)",
            "torch.cat([W.expand(2, -1, -1), W * picture[:, None]], -1)",
            "the module's queries are these",
        ),
        Change(
            "told = calibrate(maps, seen, 0.2).argmax(1).flatten()",
            "told = (maps[0, :, 0] - 0.2 * torch.eye(3)[:, :1]).argmax(0)",
            "no thing becomes ground",
        ),
        Change(
            "name: bench.answer(model, seen=bench.seen).scores()",
            "name: bench.answer(free, seen=bench.seen).scores()",
            "masks of base names raise U",
        ),
    ),
    "14": (
        Change(
            "p = logits.sigmoid()",
            "p = logits.softmax(1)",
            "dice by hand is the module's",
        ),
        Change(
            "raw = 100 * bench.answer(free)",
            "raw = 100 * bench.answer(two_stage, seen=bench.seen)",
            "masks of base names are worth a lot",
        ),
        Change(
            "fuse(q_says, c, seen, 2 / 3, rule)",
            'fuse(q_says, c, seen, 2 / 3, "zsseg")',
            "CLIP's choice among seen names is not heard",
        ),
        Change(
            '"black": ("zero", "cropmask", 1.5)',
            '"black": ("mean", "cropmask", 1.5)',
            "black is worse than the mean",
        ),
        Change(
            "by_hand = torch.where(empty, tokens, hidden)",
            "by_hand = torch.where(empty, hidden, tokens)",
            "the module's tokens",
        ),
    ),
    "17": (
        Change(
            "low = torch.minimum(far, thing)[:2]",
            "low = torch.maximum(far, thing)[:2]",
            "GIoU by hand is the package's",
        ),
        Change(
            "named = torch.where(wanted, yes, no).sum()",
            "named = torch.where(wanted, no, yes).sum()",
            "the set loss by hand is the package's",
        ),
        Change(
            "steps=80, overlap=0.5, bias=False",
            "steps=80, overlap=0.5, bias=True",
            "tokens that know their place fit better",
        ),
        Change(
            "like = (V[others] @ V[shown].T).argmax(1)",
            "like = (V[others] @ V[shown].T).argmin(1)",
            "so the package",
        ),
        Change(
            "torch.stack([two[0], 3 * two[1]])",
            "torch.stack([3 * two[0], two[1]])",
            "a copy of the queries hears its own question alone",
        ),
        Change(
            "mixed = F.gelu(state @ (share @ net.first.flatten(1)).view(2, -1))",
            "mixed = inner[0]",
            "mixed weights are the module's",
        ),
        Change(
            '"and crops": {"labels": False, "transfer": False}',
            '"and crops": {"crops": False, "labels": False, "transfer": False}',
            "crops help novel names",
        ),
        Change(
            "crops = torch.cat([low, low + side], 1)",
            "crops = torch.tensor([[0.0, 0, 1, 1]]).expand(len(low), -1)",
            "a part's positions make it a stranger",
        ),
        Change(
            "told[nearest[own - B]]",
            "mean_shapes(novel, own)[own]",
            "and a word passes on little of it",
        ),
    ),
    "19": (
        Change(
            "for v in (image, view) for w in (text, other)",
            "for v in (image, image) for w in (text, other)",
            "the mean of four of CLIP's losses",
        ),
        Change(
            "losses.views_loss((image, image), (text, text), 5.0)",
            "losses.views_loss((image, view), (text, text), 5.0)",
            "equal views and wordings: CLIP",
        ),
        Change(
            "losses.simsiam_loss((p, p), (z1, z2)).backward()",
            "losses.simsiam_loss((z1, p), (p, z2)).backward()",
            "the target gets no gradient",
        ),
        Change(
            "near, rows = queue.nearest(text)",
            "near, rows = queue.nearest(text.flip(0))",
            "each text's nearest is itself",
        ),
    ),
}

PRELUDE = """
import json as _json
import vlmtutor as _vt
from vlmtutor import claims as _claims
_noted = []
def _note(sentence, condition, source=None, **numbers):
    _noted.append((sentence, _claims._truth(condition)))
_vt.claim = _claims.claim = _note
"""
LAST = "print(_json.dumps(_noted))"


def run(path: Path, changes: tuple[Change, ...]) -> tuple[dict, list[str]]:
    """{sentence: whether it held}, and the cells that broke."""
    nb = nbformat.read(path, as_version=4)
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    for change in changes:
        (cell,) = [c for c in code if change.old in c.source] or [None]
        if cell is None or cell.source.count(change.old) != 1:
            raise ValueError(f"{path.name}: not once in it: {change.old!r}")
        cell.source = cell.source.replace(change.old, change.new)
    code = code[: 1 + max(_place(change.claim, code) for change in changes)]
    last = nbformat.v4.new_code_cell(LAST)
    nb.cells = [nbformat.v4.new_code_cell(PRELUDE), *code, last]
    env = notebooks.environment(threads=1)
    notebooks.execute(nb, path.parent, allow_errors=True, env=env)
    broken = []
    for n, cell in enumerate(code, 1):
        errors = [o for o in cell.outputs if o.output_type == "error"]
        if errors and "raises-exception" not in cell.metadata.get("tags", []):
            broken.append(f"cell {n}: {errors[0].ename}: {errors[0].evalue[:200]}")
    (said,) = last.outputs
    return dict(json.loads(said.text)), broken


def _place(claim: str, code: list) -> int:
    """The cell that makes a claim."""
    for n, cell in enumerate(code):
        if claim in cell.source:
            return n
    raise ValueError(f"no claim {claim!r}")


def judge(path: Path, changes: tuple[Change, ...], alone: bool) -> dict:
    """Run a notebook with its changes: which claims failed, as they should?"""
    found = {**stored.heading(), "changes": [], "others": [], "broken": []}
    for group in [(c,) for c in changes] if alone else [changes]:
        held, broken = run(path, group)
        found["broken"] += broken
        meant = set()
        for change in group:
            own = {s for s in held if s.startswith(change.claim)}
            meant |= own
            failed = bool(own) and not all(held[s] for s in own)
            found["changes"].append({**asdict(change), "failed": failed})
        found["others"] += [s for s, ok in held.items() if not ok and s not in meant]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="say 01; or all")
    parser.add_argument("--alone", action="store_true", help="one run a change")
    args = parser.parse_args()
    firm = 0
    for name in args.names or CHANGES:
        if not CHANGES[name]:
            continue
        (path,) = notebooks.find([name])
        found = judge(path, CHANGES[name], args.alone)
        print(path.stem)
        for change in found["changes"]:
            firm += not change["failed"]
            told = "failed, as it should" if change["failed"] else "STOOD FIRM"
            print(f"  {told}: {change['claim']}")
        for kind in ("others", "broken"):
            for line in found[kind]:
                print(f"  {kind}: {line}")
        stored.write(found, FOLDER / f"{path.stem}.json")
    return 1 if firm else 0


if __name__ == "__main__":
    sys.exit(main())
