"""The figures of ``evaluate``, on models whose answers are known."""

import json
import zlib
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vlmtutor.__main__ import main
from vlmtutor.experiments import evaluate as ev
from vlmtutor.naming import TEMPLATES
from vlmtutor.world import (
    DOMAINS,
    Layout,
    Scene,
    StickerWorld,
    backgrounds,
    load_categories,
    seeds_of,
)

D = 192
TABLE = load_categories()
MEMES = {line: c.name for c in TABLE for line in c.held_out_memes}
PLACES = {phrase: name for name, phrase in backgrounds.PHRASES.items()}
NAMES = {t.replace("{}", c.name): c.name for c in TABLE for t in TEMPLATES}
SMALL = ev.Evaluation(n=150, size=24)


def vector(*key):
    """A direction of its own for each key: [D], of length one."""
    rng = np.random.default_rng(zlib.crc32(repr(key).encode()))
    return F.normalize(torch.tensor(rng.standard_normal(D)).float(), dim=0)


class Oracle:
    """A CLIP that looks at the scene itself and not at its pixels.

    ``texts`` lists what it has encoded; ``grid`` is its number of patches a
    side, one for each pixel by default.
    """

    def __init__(self, grid=None):
        self.grid, self.texts = grid, []

    def sees(self, scene, objects):
        return [("name", o.name) for o in objects]

    def reads(self, text):
        if text in MEMES:
            return "name", MEMES[text]
        if text in PLACES:
            return "place", PLACES[text]
        return ("name", NAMES[text]) if text in NAMES else ("caption", text)

    def encode_images(self, images, batch_size=64):
        rows = []
        for image in images:
            scene, box = image.info["scene"], image.info.get("box")
            inside = [o for o in scene.objects if box in (None, o.box)]
            keys = self.sees(scene, inside)
            if not box:
                keys.append(("caption", scene.caption))
            rows.append(sum(vector(*key) for key in keys))
        return F.normalize(torch.stack(rows), dim=-1)

    def encode_texts(self, texts):
        self.texts += texts
        rows = [vector(*self.reads(text)) for text in texts]
        return torch.stack(rows) if rows else torch.zeros(0, D)

    def preprocess(self, images):
        return [image.info["scene"] for image in images]

    def patch_features(self, scenes):
        return torch.stack([self.patches(scene) for scene in scenes])

    def patches(self, scene):
        keys = self.sees(scene, scene.objects)
        if len(keys) == len(scene.objects):  # owner -1 takes the last
            keys.append(("place", scene.layout.background))
        n = self.grid or scene.size
        middle = (np.arange(n) * 2 + 1) * scene.size // (2 * n)
        owners = scene.owners[middle][:, middle]
        return torch.stack([vector(*key) for key in keys])[owners]


class Guesser(Oracle):
    """Pictures mean nothing to it."""

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def random(self, *shape):
        drawn = torch.randn(*shape, D, generator=self.generator)
        return F.normalize(drawn, dim=-1)

    def reads(self, text):
        return "text", text

    def encode_images(self, images, batch_size=64):
        return self.random(len(images))

    def patches(self, scene):
        return self.random(scene.size, scene.size)


@pytest.fixture(autouse=True)
def pictures_know_their_scene(monkeypatch):
    """A scene's picture carries the scene, a crop its box as well."""
    image, crop = Scene.image.fget, ev.square_crop

    def knowing(scene):
        picture = image(scene)
        picture.info["scene"] = scene
        return picture

    def knowing_crop(picture, box, factor=1.0):
        cut = crop(picture, box, factor)
        cut.info |= {"box": box, "scene": picture.info["scene"]}
        return cut

    monkeypatch.setattr(Scene, "image", property(knowing))
    monkeypatch.setattr(ev, "square_crop", knowing_crop)


def test_a_model_that_knows_everything_gets_every_figure_right(monkeypatch):
    used, make = Counter(), StickerWorld.scene

    def recording(world, seed, **options):
        used[seed] += 1
        return make(world, seed, **options)

    monkeypatch.setattr(StickerWorld, "scene", recording)
    e, oracle = ev.Evaluation(n=40, size=24, seed=1), Oracle()
    figures = ev.evaluate(oracle, e)
    assert len(figures) == 21 and set(figures.values()) == {1.0}, figures
    # a text is encoded once, however often it is needed
    assert len(set(oracle.texts)) == len(oracle.texts)
    # unseen scenes, in a stretch that belongs to this evaluation seed
    own = seeds_of("evaluation", "test", 1_000_000, 1)
    assert all(seed in own for seed in used)
    # the same scenes in each domain, and no other comes twice
    assert set(used.values()) == {1, len(DOMAINS)}
    assert sum(n == len(DOMAINS) for n in used.values()) == e.n


def test_a_model_that_knows_nothing_is_at_chance():
    figures = ev.evaluate(Guesser(), ev.Evaluation(n=150, size=16))
    halves = {"binding_colours", "binding_sides", "local_of_two"}
    for name in halves:
        assert abs(figures.pop(name) - 0.5) < 0.09, name
    assert figures.pop("local_of_all") < 0.02
    assert figures.pop("meme_r5") < 0.04
    for name, value in figures.items():
        assert value < 0.07, name


def test_single_scenes_are_named_among_all_categories():
    class Halves(Oracle):
        def sees(self, scene, objects):
            good = scene.seed % 2
            return [("name", o.name if good else "cat") for o in objects]

    scenes = SMALL.scenes(n=SMALL.n, n_stickers=1)
    right = [s.seed % 2 or s.objects[0].name == "cat" for s in scenes]
    assert {len(s.objects) for s in scenes} == {1}
    assert ev.top1(Halves(), SMALL) == pytest.approx(np.mean(right))
    few = ev.Evaluation(n=30, size=24, names=("dog", "pizza"))
    assert {s.objects[0].name for s in few.scenes(30)} <= {"dog", "pizza"}
    assert ev.top1(Oracle(), few) == 1


def test_each_domain_has_its_figure():
    class Daylight(Oracle):
        def sees(self, scene, objects):
            if scene.domain == "night":
                return [("name", "nothing")]
            return super().sees(scene, objects)

    figures = ev.domains(Daylight(), ev.Evaluation(n=60, size=24))
    assert figures.pop("top1_night") < 0.1
    assert set(figures) == {f"top1_{d}" for d in DOMAINS if d != "night"}
    assert set(figures.values()) == {1.0}


def test_retrieval_counts_each_direction_and_no_caption_twice():
    class OneWay(Oracle):
        """All captions sound alike to it but for a little."""

        def encode_texts(self, texts):
            rows = super().encode_texts(texts)
            return torch.cat([rows, torch.zeros(len(rows), 1)], 1)

        def encode_images(self, images, batch_size=64):
            rows = super().encode_images(images)
            rows[0] *= 50  # a picture that every caption chooses
            return torch.cat([rows, torch.ones(len(rows), 1)], 1)

    figures = ev.retrieval(OneWay(), SMALL)
    assert figures["image_to_text_r1"] == 1
    assert figures["text_to_image_r1"] < 0.9
    oracle = Oracle()
    ev.retrieval(oracle, SMALL)
    assert len(set(oracle.texts)) == len(oracle.texts) == 500


@pytest.mark.parametrize(
    ("figure", "swap"),
    [("binding_colours", Layout.swap_colors), ("binding_sides", Layout.swap_stickers)],
)
def test_binding_is_lost_by_a_model_that_swaps(figure, swap):
    class Swapper(Oracle):
        def encode_images(self, images, batch_size=64):
            rows = []
            for image in images:
                scene = image.info["scene"]
                assert len({o.name for o in scene.objects}) == 2
                other = Scene(swap(scene.layout), 24, "sticker", scene.seed)
                assert other.caption != scene.caption
                rows.append(vector("caption", other.caption))
            return torch.stack(rows)

    def only(part):  # the other figure's scenes may not change by this swap
        original = ev.choice

        def choice(clip, scenes, wrong):
            return original(clip, scenes, wrong) if wrong is swap else 1.0

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ev, "choice", choice)
            return part(Swapper(), SMALL)

    assert only(ev.binding)[figure] == 0


def test_meme_recall_counts_places_of_the_right_picture():
    class Fuzzy(Oracle):
        """A line that mentions X makes it think of its neighbours too."""

        def encode_texts(self, texts):
            rows = []
            for text in texts:
                k = next(c.index for c in TABLE if c.name == MEMES[text])
                near = [TABLE[(k + i) % len(TABLE)].name for i in range(4)]
                rows.append(
                    sum(
                        (2 + 0.3 * i) * vector("name", name)
                        for i, name in enumerate(near)
                    )
                )
            return torch.stack(rows)

        def encode_images(self, images, batch_size=64):
            scenes = [image.info["scene"] for image in images]
            names = [s.objects[0].name for s in scenes]
            assert names == [c.name for c in TABLE]
            return torch.stack([vector("name", name) for name in names])

    figures = ev.meme_recall(Fuzzy(), SMALL)
    assert figures["meme_r1"] < 0.05  # fourth of four
    assert figures["meme_r5"] > 0.9
    parts = figures["meme_r5_named"], figures["meme_r5_hinted"]
    assert np.mean(parts) == pytest.approx(figures["meme_r5"])


def test_crops_keep_base_and_novel_apart():
    class BaseOnly(Oracle):
        def sees(self, scene, objects):
            assert len(objects) >= 1 and all(o.category.dense for o in objects)
            return [
                ("name", o.name if o.category.base else o.category.relative)
                for o in objects
            ]

    figures = ev.crops(BaseOnly(), SMALL)
    assert figures == {
        "crop_box_base": 1.0,
        "crop_box_novel": 0.0,
        "crop_box_x1.5_base": 1.0,
        "crop_box_x1.5_novel": 0.0,
    }


BOXES = st.tuples(*[st.integers(0, 95)] * 4).filter(
    lambda b: b[0] < b[2] and b[1] < b[3]
)


@settings(max_examples=200, deadline=None)
@given(BOXES, st.sampled_from([1.0, 1.5, 3.0]))
def test_a_crop_is_square_inside_and_holds_its_box(box, factor):
    y, x = np.mgrid[:96, :96]
    picture = Image.fromarray(np.stack([y, x, 0 * x], -1).astype(np.uint8))
    picture.info["scene"] = None
    cut = ev.square_crop(picture, box, factor)
    assert abs(cut.width - cut.height) <= 1
    x0, y0, x1, y1 = box
    side = min(max(x1 - x0, y1 - y0) * factor, 96)
    assert abs(cut.width - side) <= 1
    rows, columns = np.asarray(cut)[..., 0], np.asarray(cut)[..., 1]
    # the numbers of the rows and columns shown: none from outside
    assert np.array_equal(np.diff(rows[:, 0]), np.ones(cut.height - 1))
    assert rows.min() <= y0 + 1 and rows.max() >= y1 - 2
    assert columns.min() <= x0 + 1 and columns.max() >= x1 - 2


def test_local_naming_by_a_model_that_exchanges_the_two():
    class Exchanger(Oracle):
        def sees(self, scene, objects):
            return super().sees(scene, objects)[::-1]

    figures = ev.local_naming(Exchanger(), SMALL)
    assert figures == {"local_of_two": 0.0, "local_of_all": 0.0}


@pytest.mark.parametrize("grid", [12, 8, 7, 5])
def test_local_naming_of_coarse_patches(grid):
    """Also of grids that do not divide the canvas, as 7 does not 96."""
    few = ev.Evaluation(n=1, size=24, names=("cat", "pizza", "rocket"))

    class Namer(Oracle):
        """It calls the background by the one name that is not there."""

        def sees(self, scene, objects):
            names = [o.name for o in objects]
            rest = [name for name in few.names if name not in names]
            return [("name", name) for name in names + rest]

    figures = ev.local_naming(Namer(grid), few)
    hit = pixels = 0
    scenes = few.scenes(300, offset=800_000, n_stickers=2, keep=ev.two_kinds)
    for scene in scenes:
        y, x = np.nonzero(scene.owners >= 0)
        middle = (np.arange(grid) * 2 + 1) * 24 // (2 * grid)
        shown = scene.owners[middle[y * grid // 24], middle[x * grid // 24]]
        hit += (shown == scene.owners[y, x]).sum()
        pixels += len(y)
    assert figures["local_of_all"] == pytest.approx(hit / pixels)
    assert figures["local_of_two"] >= figures["local_of_all"] > 0.5


def test_dense_with_a_model_that_sees_stickers_but_no_places():
    class Placeless(Oracle):
        def reads(self, text):
            key = super().reads(text)
            return ("nowhere", text) if key[0] == "place" else key

    figures = ev.dense(Placeless(), SMALL)
    assert figures["miou_stickers"] == 1
    # background pixels go to names and places at random
    assert 0.1 < figures["miou_scene"] < 0.9


def test_scenes_that_are_not_there_end_the_search(monkeypatch):
    monkeypatch.setattr("vlmtutor.experiments.unseen.PART_STRIDE", 50)
    one = ev.Evaluation(size=24, names=("cat",))
    with pytest.raises(ValueError, match="0 of 5 scenes found among 50"):
        one.scenes(5, n_stickers=2, keep=ev.two_kinds)
    assert len(one.scenes(50, n_stickers=2)) == 50


@pytest.fixture
def one_part(monkeypatch):
    """Only one figure, which tells its seed."""
    seen = []

    def part(clip, e):
        seen.append(e)
        return {"figure": e.seed**2 / 4}

    monkeypatch.setattr(ev, "PARTS", (part,))
    pictures = {"own_line": {"a": True, "b": False}}
    monkeypatch.setattr(ev, "own_lines", lambda clip: pictures)
    return seen


def test_three_seeds_make_the_table(one_part, tmp_path, capsys):
    file = tmp_path / "figures.json"
    words = ["evaluate", "--n", "7", "--split", "val", "--json", str(file)]
    assert main(words) == 0
    assert [(e.seed, e.n, e.split) for e in one_part] == [
        (0, 7, "val"),
        (1, 7, "val"),
        (2, 7, "val"),
    ]
    row = {"mean": 0.4167, "min": 0.0, "max": 1.0}
    assert json.loads(file.read_text(encoding="utf-8")) == {
        "figure": row,
        "pictures": {"own_line": {"a": True, "b": False}},
    }
    out = capsys.readouterr().out
    assert "| figure | mean | min | max | floor | holds |\n| --- |" in out
    assert "| figure | 41.7 % | 0.0 % | 100.0 % | – | – |" in out
    assert "| own_line | 1 of 2 | – | – | 23 of 2 | NO |" in out
    assert "own_line: not b\n" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "no/such-clip"], "no usable CLIP"),
        (["--n", "0"], "--n is 1 to 100000, not 0"),
        (["--json", "no/such/folder/f.json"], "--json: no folder for"),
        (["--card", "--model", "tests"], "no usable CLIP"),
    ],
)
def test_what_cannot_work_is_said_at_once(one_part, options, message, capsys):
    assert main(["evaluate", *options]) == 1
    assert message in capsys.readouterr().err and not one_part


def test_the_command_explains_itself(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "usage: python -m vlmtutor evaluate" in out
    assert all(o in out for o in ("--model", "--n", "--split", "--json", "--card"))
