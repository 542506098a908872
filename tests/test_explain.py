"""Heat maps: the algebra, a picture with a known answer, Sticker World."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from fake_clip import COLOURS, TinyClip
from PIL import Image
from transformers import CLIPConfig, CLIPModel

import vlmtutor as vt
from vlmtutor.memes.explain import explain, overlay, seen_box
from vlmtutor.models.inside import attention_gradients, first_state, gather_relevance

PATCH, SIDE = 8, 4  # the known-answer model: 4 x 4 patches of 8 px


class ColourPatchClip:
    """A CLIP set by hand: the class token averages the patches' colours.

    Each patch holds its own colour and keeps it, so that the picture's
    embedding is its mean colour, and where a colour's evidence comes from
    is known.
    """

    def __init__(self):
        layers = {
            "hidden_size": 8,
            "intermediate_size": 4,
            "num_hidden_layers": 2,
            "num_attention_heads": 1,
        }
        config = CLIPConfig(
            text_config={
                **layers,
                "vocab_size": 8,
                "bos_token_id": 1,
                "eos_token_id": 2,
                "pad_token_id": 0,
            },
            vision_config={**layers, "image_size": 32, "patch_size": PATCH},
            projection_dim=3,
        )
        self.model = CLIPModel(config).eval()
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.zero_()
            vision = self.model.vision_model
            for module in vision.modules():
                if isinstance(module, torch.nn.LayerNorm):
                    module.weight.fill_(1.0)
            patch = vision.embeddings.patch_embedding.weight
            for channel in range(3):  # channels 0 to 2: the mean colour
                patch[channel, channel] = 1 / PATCH**2
            last = vision.encoder.layers[-1].self_attn
            last.v_proj.weight[:3, :3] = torch.eye(3)
            last.out_proj.weight[3:6, :3] = torch.eye(3)
            self.model.visual_projection.weight[:, 3:6] = torch.eye(3)

    def preprocess(self, images):
        arrays = [np.asarray(i.convert("RGB"), np.float32) for i in images]
        return torch.tensor(np.array(arrays)).permute(0, 3, 1, 2) / 255

    def encode_texts(self, texts):
        rows = [[float(c in t) for c in ("red", "green", "blue")] for t in texts]
        return torch.nn.functional.normalize(torch.tensor(rows), dim=-1)


@pytest.fixture(scope="module")
def tiny():
    return TinyClip()


@pytest.fixture(scope="module")
def noise():
    pixels = np.random.default_rng(0).integers(0, 255, (40, 32, 3))
    return Image.fromarray(pixels.astype(np.uint8))


def looks(tiny, noise):
    """Attention of each block, and gradients of the cosine with "a cat"."""
    hidden = first_state(tiny.model, tiny.preprocess([noise])).detach()
    target = tiny.encode_texts(["a cat"])[0]
    found = attention_gradients(tiny, hidden, lambda e: e @ target)
    return ([x[0] for x in part] for part in found)


def test_relevance_by_hand():
    attention = torch.tensor([[[0.5, 0.5], [0.25, 0.75]]])
    gradient = torch.tensor([[[1.0, 2.0], [-4.0, 4.0]]])
    once = gather_relevance([attention], [gradient])
    # I + relu(A * g): the negative look does not count
    assert torch.equal(once, torch.tensor([[1.5, 1.0], [0.0, 4.0]]))
    step = once - torch.eye(2)
    twice = gather_relevance([attention] * 2, [gradient] * 2)
    assert torch.allclose(twice, once + step @ once)


def test_relevance_averages_the_heads_after_the_cut():
    attention = torch.ones(2, 2, 2)
    gradient = torch.stack([torch.full((2, 2), 3.0), torch.full((2, 2), -9.0)])
    got = gather_relevance([attention], [gradient])
    assert torch.allclose(got, torch.eye(2) + 1.5)


def test_relevance_starts_as_identity_and_only_grows(tiny, noise):
    attentions, gradients = looks(tiny, noise)
    for depth in range(len(attentions) + 1):
        seen = gather_relevance(
            attentions[:depth] or attentions[:1],
            gradients[:depth] or [0 * gradients[0]],
        )
        assert (seen >= torch.eye(17)).all()
    assert len(attentions) == tiny.model.config.vision_config.num_hidden_layers


def test_attention_and_gradients_are_the_models(noise):
    tiny = TinyClip()
    attentions, gradients = looks(tiny, noise)
    tiny.model.set_attn_implementation("eager")
    output = tiny.model.vision_model(tiny.preprocess([noise]), output_attentions=True)
    embeds = tiny.model.visual_projection(output.pooler_output)
    cosine = torch.nn.functional.normalize(embeds, dim=-1)[0]
    cosine = cosine @ tiny.encode_texts(["a cat"])[0]
    theirs = torch.autograd.grad(cosine, output.attentions)
    for k, attention in enumerate(attentions):
        assert attention.shape == (2, 17, 17)
        torch.testing.assert_close(attention, output.attentions[k][0])
        torch.testing.assert_close(gradients[k], theirs[k][0])
    # After the last block only the class token is read: no other row counts.
    assert gradients[-1][:, 1:].abs().max() == 0
    assert gradients[-1][:, :1].abs().max() > 0
    assert gradients[0][:, 1:].abs().max() > 0


def test_gradient_agrees_with_a_small_step(tiny, noise):
    """Change one weight of one look: the cosine moves as foretold."""
    _, gradients = looks(tiny, noise)
    vision = tiny.model.vision_model
    block = vision.encoder.layers[-1].self_attn
    step = 1e-2

    def cosine(nudge: float) -> float:
        def change(module, inputs):
            with torch.no_grad():
                values = block.v_proj(normed["x"])[0, 5, :8]  # head 0
                mixed = inputs[0].clone()
                mixed[0, 0, :8] += nudge * values
                return (mixed,)

        normed = {}
        note = block.register_forward_pre_hook(
            lambda module, args, kwargs: normed.update(
                x=kwargs.get("hidden_states", args[0] if args else None)
            ),
            with_kwargs=True,
        )
        hook = block.out_proj.register_forward_pre_hook(change)
        try:
            image = tiny.encode_images([noise])
            return (image @ tiny.encode_texts(["a cat"]).T).item()
        finally:
            note.remove()
            hook.remove()

    slope = (cosine(step) - cosine(-step)) / (2 * step)
    assert slope == pytest.approx(gradients[-1][0, 0, 5].item(), rel=0.02, abs=1e-4)


def test_heat_runs_from_zero_to_one_and_repeats(tiny, noise):
    heat = explain(tiny, noise, "a cat")
    assert heat.shape == (4, 4)
    assert heat.min() == 0 and heat.max() == 1
    assert torch.equal(heat, explain(tiny, noise, "a cat"))
    assert not torch.allclose(heat, explain(tiny, noise, "something else"))


def test_explaining_leaves_the_model_as_it_was(tiny, noise):
    config = tiny.model.vision_model.config
    before = config._attn_implementation
    embeds = tiny.encode_images([noise])
    with torch.no_grad():  # also where gradients are switched off
        explain(tiny, noise, "a cat")
    assert config._attn_implementation == before
    assert all(p.grad is None for p in tiny.model.parameters())
    assert torch.equal(embeds, tiny.encode_images([noise]))
    for parameter in tiny.model.parameters():
        parameter.requires_grad_(False)
    try:
        assert explain(tiny, noise, "a cat").max() == 1
    finally:
        for parameter in tiny.model.parameters():
            parameter.requires_grad_(True)


def test_two_threads_get_the_maps_that_one_gets(tiny, noise):
    """Widgets may call it from a thread beside that of the cells."""
    texts = ["a cat", "a dog"] * 8
    wanted = [explain(tiny, noise, text) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda text: explain(tiny, noise, text), texts))
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_no_words_nothing_to_explain(tiny, noise):
    with pytest.raises(ValueError, match="no words"):
        explain(tiny, noise, " \n")


@pytest.mark.parametrize("cell", range(16))
def test_heat_where_the_answer_is_known(cell):
    clip = ColourPatchClip()
    other = (cell + 6) % 16
    image = Image.new("RGB", (32, 32), (90, 90, 90))
    for index, color in ((cell, (255, 0, 0)), (other, (0, 0, 255))):
        row, column = divmod(index, SIDE)
        left, top = column * PATCH, row * PATCH
        image.paste(color, (left, top, left + PATCH, top + PATCH))
    red, blue = explain(clip, image, "red"), explain(clip, image, "blue")
    assert red.argmax() == cell and blue.argmax() == other
    assert red.flatten()[other] == 0 and blue.flatten()[cell] == 0


def _hits(mask: np.ndarray, heat: torch.Tensor) -> bool:
    """The pointing game: is a quarter of the best patch on the object?"""
    row, column = divmod(int(heat.argmax()), heat.shape[1])
    cell = mask.shape[0] / heat.shape[0]
    rows = slice(round(row * cell), round((row + 1) * cell))
    columns = slice(round(column * cell), round((column + 1) * cell))
    return mask[rows, columns].mean() > 0.25


def test_pointing_game_with_the_shipped_model():
    clip = vt.load_clip()
    world = vt.StickerWorld(96)
    side = clip.image_size // clip.model.config.vision_config.patch_size
    own, other, chance = [], [], []
    for seed in vt.seeds("test", 40):
        scene = world.scene(seed, n=2)
        names = [thing.name for thing in scene.objects]
        if len(set(names)) < 2:
            continue
        heats = [explain(clip, scene.image, f"a {n}") for n in names]
        for thing, right, wrong in zip(scene.objects, heats, heats[::-1], strict=True):
            own.append(_hits(thing.mask, right))
            other.append(_hits(thing.mask, wrong))
            patches = torch.eye(side * side).unflatten(1, (side, side))
            chance.append(np.mean([_hits(thing.mask, p) for p in patches]))
    assert len(own) > 60
    assert np.mean(chance) < 0.2
    assert np.mean(own) > 0.6  # the word's sticker
    assert np.mean(own) > 3 * np.mean(other)  # the same spot, a wrong word


def test_a_cat_is_where_the_cat_is():
    clip = vt.load_clip()
    world = vt.StickerWorld(96)
    pair = ["cat", "pineapple"]
    hits = []
    for seed in vt.seeds("test", 12, start=1000):
        scene = world.scene(seed, n=2, categories=pair)
        for thing in scene.objects:
            if len({o.name for o in scene.objects}) == 2:
                heat = explain(clip, scene.image, f"a {thing.name}")
                hits.append(_hits(thing.mask, heat))
    assert len(hits) >= 6 and np.mean(hits) >= 0.7


def test_overlay_is_bright_where_the_heat_is():
    image = Image.new("RGB", (80, 80), (128, 128, 128))
    heat = torch.zeros(4, 4)
    heat[0, 3] = 1.0
    out = overlay(image, heat)
    assert out.size == image.size and out.mode == "RGB"
    gray = np.asarray(out.convert("L"), int)
    assert gray[8, 72] > gray[8, 8] + 60
    assert gray[8, 72] > gray[72, 72] + 60
    assert image.getpixel((0, 0)) == (128, 128, 128)  # untouched


@pytest.mark.parametrize("size", [(120, 60), (60, 120), (61, 60), (1, 1)])
def test_overlay_covers_what_the_model_sees(size):
    image = Image.new("RGB", size, "white")
    box = seen_box(None, image)
    width, height = box[2] - box[0], box[3] - box[1]
    assert width == height == min(size)
    out = overlay(image, np.ones((3, 3)))
    assert out.size == size
    pixels = np.asarray(out)
    if size == (120, 60):  # the ends were cut off: dark
        assert pixels[30, 10].max() < 80 < pixels[30, 60].max()


def test_a_model_that_squeezes_sees_all():
    from vlmtutor.models import ImageSettings

    class Squeezing:
        image_settings = ImageSettings(resize=(32, 32), crop=None)

    image = Image.new("RGB", (100, 40), COLOURS["red"])
    assert seen_box(Squeezing(), image) == (0, 0, 100, 40)
    out = overlay(image, np.eye(2), seen_box(Squeezing(), image))
    assert out.size == (100, 40)


def test_overlay_refuses_what_is_no_map():
    with pytest.raises(ValueError, match=r"heat is \[h, w\]"):
        overlay(Image.new("RGB", (8, 8)), np.ones(4))
