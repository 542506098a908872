"""Other CLIPs than OpenAI's: TinyCLIP and SigLIP, as transformers has them."""

import re
import shutil

import pytest
import torch
from clip_folders import (
    SIGLIP_BASE,
    TINYCLIP_8M,
    TINYCLIP_40M,
    only_tokenizer_json,
    write_cache,
    write_clip,
    write_siglip,
)
from huggingface_hub import constants
from test_load_clip import PICTURES, TEXTS, check_against_transformers
from test_studio_state import as_png
from transformers import PreTrainedTokenizerFast, SiglipModel

from vlmtutor import models
from vlmtutor.__main__ import main
from vlmtutor.memes import match
from vlmtutor.memes.explain import explain
from vlmtutor.memes.hubs import CORRECTIONS
from vlmtutor.memes.studio.state import StudioState
from vlmtutor.models import catalog, load_clip
from vlmtutor.naming import even_cosine, probabilities, zero_shot

CLOSE = {"atol": 1e-5, "rtol": 0}
LABELS = ["a dog", "A cat!", "two birds"]


def siglip_of_transformers(folder, texts, pictures):
    """What SiglipModel makes of them, fed as its documentation asks."""
    from transformers.models.siglip import image_processing_pil_siglip as pil

    model = SiglipModel.from_pretrained(folder).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    length = model.config.text_config.max_position_embeddings
    tokens = tokenizer(
        texts,
        padding="max_length",
        max_length=length,
        truncation=True,
        return_tensors="pt",
    )
    processor = pil.SiglipImageProcessorPil.from_pretrained(folder)
    pixel_values = processor(pictures, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        return model(input_ids=tokens["input_ids"], pixel_values=pixel_values)


@pytest.fixture(scope="module")
def siglip_folder(tmp_path_factory):
    return write_siglip(tmp_path_factory.mktemp("siglip") / "tiny")


@pytest.fixture(scope="module")
def siglip(siglip_folder):
    return load_clip(siglip_folder)


@pytest.mark.parametrize("config", [TINYCLIP_8M, TINYCLIP_40M], ids=["8M", "40M"])
def test_tinyclip_opens_from_its_four_files(tmp_path, config):
    folder = only_tokenizer_json(write_clip(tmp_path / "tiny", config))
    clip = load_clip(folder)
    weights = sum(p.numel() for p in clip.model.parameters())
    at_most = {512: 85e6, 256: 24e6}[config["vision_config"]["hidden_size"]]
    assert 0.95 * at_most < weights < at_most  # 337 and 94 MB in float32
    assert clip.embed_dim == 512 and clip.image_size == 224
    check_against_transformers(clip, folder)
    shutil.rmtree(folder)


def test_siglip_base_equals_transformers(tmp_path):
    folder = write_siglip(tmp_path / "base", SIGLIP_BASE)
    clip = load_clip(folder)
    assert sum(p.numel() for p in clip.model.parameters()) == 203_155_970
    assert (clip.embed_dim, clip.image_size) == (768, 224)
    theirs = siglip_of_transformers(folder, TEXTS, PICTURES)
    images, texts = clip.encode_images(PICTURES), clip.encode_texts(TEXTS)
    torch.testing.assert_close(images, theirs.image_embeds, **CLOSE)
    torch.testing.assert_close(texts, theirs.text_embeds, **CLOSE)
    shutil.rmtree(folder)


def test_siglip_scores_are_sigmoids(siglip, siglip_folder):
    theirs = siglip_of_transformers(siglip_folder, LABELS, PICTURES)
    wanted = theirs.logits_per_image.sigmoid()
    assert siglip.logit_scale == pytest.approx(109.947, abs=1e-3)
    assert siglip.logit_bias == pytest.approx(-12.9)
    found = zero_shot(siglip, PICTURES, LABELS, "{}")
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    assert (found.sum(dim=1) < 0.5).any()  # nobody makes a row sum to 1
    for correction in CORRECTIONS:
        matches = match(PICTURES, LABELS, siglip, correction=correction)
        torch.testing.assert_close(matches.probabilities, found)
        for i, row in enumerate(found.tolist()):
            best = matches.choice(i)
            assert best.probability == pytest.approx(row[best.index], abs=1e-6)
    plainly = match(PICTURES, LABELS, siglip, correction=None)
    assert plainly.chosen == tuple(wanted.argmax(dim=1).tolist())
    state = StudioState(siglip, LABELS)
    state.add_upload("noise.png", as_png(PICTURES[2]))
    shares = [b.probability for b in sorted(state.chart(0))]
    assert shares == pytest.approx(
        [found[2, LABELS.index(t)].item() for t in sorted(LABELS)], abs=1e-6
    )


def test_siglip_temperature_turns_around_its_even_chance(siglip):
    even = even_cosine(siglip)
    cosines = torch.tensor([[even - 0.1, even, even + 0.1]])
    for temperature in (1 / siglip.logit_scale, 0.05, 1.0):
        shares = probabilities(cosines, temperature, even)[0]
        assert shares[1] == pytest.approx(0.5, abs=1e-5)
        assert shares[0] < 0.5 < shares[2]
    slope = torch.tensor([-0.1, 0.0, 0.1]).sigmoid()
    torch.testing.assert_close(shares, slope, **CLOSE)


def test_softmax_stays_for_a_clip(siglip, tmp_path):
    clip = load_clip(write_clip(tmp_path / "clip"))
    assert clip.logit_bias is None
    found = zero_shot(clip, PICTURES, LABELS)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(3))


def test_siglip_fills_its_texts_up_and_uses_no_mask(siglip):
    tokens = siglip.tokenize(["ab", "ab " * 40])
    assert list(tokens) == ["input_ids"]
    end, vocab = siglip.tokenizer.eos_token_id, siglip.tokenizer.get_vocab()
    ab = vocab["▁ab"]
    assert tokens["input_ids"].tolist() == [[ab] + [end] * 11, [ab] * 11 + [end]]
    words = ["A  Dog!?", " a dog"]
    torch.testing.assert_close(*siglip.encode_texts(words)[:, None])


def test_siglip_sees_the_whole_picture_squeezed(siglip):
    assert siglip.image_settings.crop is None
    assert siglip.image_settings.resize == (32, 32)


def test_siglip_tells_what_it_cannot(siglip):
    with pytest.raises(ValueError, match="SigLIP"):
        siglip.patch_features(siglip.preprocess(PICTURES))
    with pytest.raises(ValueError, match="only a CLIP can be asked why"):
        explain(siglip, PICTURES[0], "a dog")


def test_siglip_needs_its_tokenizer_in_one_file(siglip_folder, tmp_path):
    copy = shutil.copytree(siglip_folder, tmp_path / "copy")
    (copy / "tokenizer.json").rename(copy / "spiece.model")
    with pytest.raises(models.ModelNotFound, match="no tokenizer.json"):
        load_clip(copy)


@pytest.fixture
def no_models(tmp_path, monkeypatch):
    """An empty cache, and no folder with models of one's own."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)


def test_known_models_are_free_pinned_and_by_size(no_models):
    known = models.known()
    shipped = [k for k in known if k.is_here]
    offered = [k for k in known if not k.is_here]
    assert [k.id for k in shipped] == ["StickerCLIP", "PairCLIP", "PhraseCLIP"]
    assert [k.megabytes for k in offered] == [94, 337, 605, 813]
    assert {k.licence for k in offered} == {"MIT", "Apache-2.0"}
    assert all(re.fullmatch("[0-9a-f]{40}", k.revision) for k in offered)
    # a shipped one has its label for an id
    names = {k.id for k in known} | {k.label for k in known}
    assert len(names) == 2 * len(known) - len(shipped)
    for own in shipped:
        weights = catalog.shipped(own.id)[1] / "model.safetensors"
        assert own.megabytes == round(weights.stat().st_size / 1e6)


def test_what_is_cached_or_trained_here_is_known(no_models, tmp_path):
    student = write_clip(tmp_path / "runs" / "my_student")
    cached = write_cache(tmp_path / "hub", student, models.known()[-1].id)
    here = {k.id: k.label for k in models.known() if k.is_here}
    assert here["runs/my_student"] == "my student"
    assert here["google/siglip-base-patch16-224"] == "SigLIP, base/16"
    (cached / "model.safetensors").unlink()
    assert not models.known()[-1].is_here


def test_the_command_lists_them(no_models, capsys):
    assert main(["download"]) == 0
    said = capsys.readouterr().out
    for known in models.known():
        assert f"{known.id} " in said and f"{known.megabytes} MB" in said
        assert known.licence in said and known.purpose in said
    assert "* StickerCLIP" in said and "  wkcn/" in said
