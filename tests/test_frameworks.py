"""The three frameworks: equal to CLIP where they should be, and no leaks."""

import dataclasses

import pytest
import torch
from transformers import CLIPConfig, CLIPModel, GPT2Config, GPT2LMHeadModel

from vlmtutor.models.blocks import (
    Attention,
    Block,
    Transformer,
    count_parameters,
    watch_attention,
)
from vlmtutor.models.config import FrameworkConfig
from vlmtutor.models.decoding import beam, greedy, write_captions
from vlmtutor.models.frameworks import OneTower, TwoLeg, TwoTower
from vlmtutor.models.mae import MaskedAutoencoder
from vlmtutor.models.towers import (
    ConvNet,
    TextTransformer,
    VisionTransformer,
    conv_stem,
    last_word,
    word_mask,
)
from vlmtutor.models.words import to_ids, to_text, word_tokenizer
from vlmtutor.seeding import seeded_weights

SMALL = FrameworkConfig(
    vocabulary=20, text_length=8, image_size=16, patch_size=8, width=16,
    heads=2, image_layers=2, text_layers=2, fusion_layers=1, embed_dim=12,
)  # fmt: skip
IDS = torch.tensor([[2, 7, 8, 9, 3], [2, 8, 3, 0, 0], [2, 10, 9, 3, 0]])
ALL = [TwoTower, TwoLeg, OneTower]


def pictures(n=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, 16, 16, generator=generator)


def sized(**changes):
    return dataclasses.replace(SMALL, **changes)


# against transformers


def copy_linear(ours, theirs):
    ours.weight.data.copy_(theirs.weight)
    ours.bias.data.copy_(theirs.bias)


def copy_block(ours: Block, theirs):
    copy_linear(ours.norm1, theirs.layer_norm1)
    copy_linear(ours.norm2, theirs.layer_norm2)
    copy_linear(ours.mlp[0], theirs.mlp.fc1)
    copy_linear(ours.mlp[2], theirs.mlp.fc2)
    attention = theirs.self_attn
    copy_linear(ours.attention.query, attention.q_proj)
    copy_linear(ours.attention.out, attention.out_proj)
    both = (attention.k_proj, attention.v_proj)
    key_value = ours.attention.key_value
    key_value.weight.data.copy_(torch.cat([p.weight for p in both]))
    key_value.bias.data.copy_(torch.cat([p.bias for p in both]))


def copy_clip(ours: TwoTower, theirs: CLIPModel):
    """Give our two towers the weights of a CLIPModel."""
    vision, text = theirs.vision_model, theirs.text_model
    seen = vision.embeddings
    ours.image.class_token.data.copy_(seen.class_embedding)
    ours.image.patches.weight.data.copy_(seen.patch_embedding.weight)
    ours.image.positions.data.copy_(seen.position_embedding.weight)
    copy_linear(ours.image.norm_in, vision.pre_layrnorm)
    copy_linear(ours.image.norm_out, vision.post_layernorm)
    ours.text.words.weight.data.copy_(text.embeddings.token_embedding.weight)
    ours.text.positions.data.copy_(text.embeddings.position_embedding.weight)
    copy_linear(ours.text.norm_out, text.final_layer_norm)
    for mine, other in ((ours.image, vision), (ours.text, text)):
        for block, layer in zip(
            mine.transformer.blocks, other.encoder.layers, strict=True
        ):
            copy_block(block, layer)
    ours.image_head.weight.data.copy_(theirs.visual_projection.weight)
    ours.text_head.weight.data.copy_(theirs.text_projection.weight)
    ours.logit_scale.data.copy_(theirs.logit_scale)


def test_two_towers_are_clip():
    """With the same weights our towers give CLIPModel's embeddings."""
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "hidden_act": "gelu",
    }
    config = CLIPConfig(
        text_config={
            **sizes,
            "vocab_size": 20,
            "eos_token_id": 3,
            "bos_token_id": 2,
            "pad_token_id": 0,
            "max_position_embeddings": 8,
        },
        vision_config={**sizes, "image_size": 16, "patch_size": 8},
        projection_dim=12,
    )
    with seeded_weights(1):
        theirs = CLIPModel(config).eval()
    ours = TwoTower(sized(image_encoder="vit", causal=True))
    assert count_parameters(ours) == count_parameters(theirs)
    copy_clip(ours, theirs)
    output = theirs(input_ids=IDS, pixel_values=pictures())
    image = ours.encode_images(pictures())
    text = ours.encode_texts(IDS)
    assert torch.allclose(image, output.image_embeds, atol=1e-5)
    assert torch.allclose(text, output.text_embeds, atol=1e-5)
    logits = ours.scale() * image @ text.T
    assert torch.allclose(logits, output.logits_per_image, atol=1e-4)
    pair = ours.match_logits(ours.image_tokens(pictures()), ours.text_tokens(IDS), IDS)
    assert torch.allclose(pair, logits.diag(), atol=1e-4)


# all three


@pytest.mark.parametrize("kind", ALL)
def test_shapes(kind):
    model = kind(SMALL)
    image, text = model.image_tokens(pictures()), model.text_tokens(IDS)
    assert image.shape == (3, 5, 16) and text.shape == (3, 5, 16)
    for embeds in (model.encode_images(pictures()), model.encode_texts(IDS)):
        assert embeds.shape == (3, 12)
        assert torch.allclose(embeds.norm(dim=-1), torch.ones(3))
    assert model.patch_embeds(image).shape == (3, 4, 12)
    assert model.word_embeds(text).shape == (3, 5, 12)
    assert model.match_logits(image, text, IDS).shape == (3,)


@pytest.mark.parametrize("kind", ALL)
def test_the_seed_decides_and_nothing_global_changes(kind):
    state = torch.random.get_rng_state()
    first, second, other = kind(SMALL), kind(SMALL), kind(sized(seed=1))
    assert torch.equal(state, torch.random.get_rng_state())
    embeds = [m.encode_texts(IDS) for m in (first, second, other)]
    assert torch.equal(embeds[0], embeds[1])
    assert not torch.allclose(embeds[0], embeds[2], atol=1e-2)


@pytest.mark.parametrize("kind", ALL)
def test_padding_changes_nothing(kind):
    model = kind(SMALL).eval()
    alone, padded = IDS[1:2, :3], IDS[1:2]
    assert torch.allclose(
        model.encode_texts(alone), model.encode_texts(padded), atol=1e-6
    )
    image = model.image_tokens(pictures(1))
    scores = [
        model.match_logits(image, model.text_tokens(ids), ids)
        for ids in (alone, padded)
    ]
    assert torch.allclose(*scores, atol=1e-5)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("n", [0, 1])
def test_empty_and_single_batches(kind, n):
    model = kind(SMALL)
    image = model.image_tokens(pictures(n))
    text = model.text_tokens(IDS[:n])
    assert model.image_embeds(image).shape == (n, 12)
    assert model.text_embeds(text, IDS[:n]).shape == (n, 12)
    assert model.match_logits(image, text, IDS[:n]).shape == (n,)


@pytest.mark.parametrize("kind", ALL)
def test_a_text_of_nothing_but_padding_is_finite(kind):
    model = kind(SMALL)
    ids = torch.zeros(1, 4, dtype=torch.long)
    assert model.encode_texts(ids).isfinite().all()
    image = model.image_tokens(pictures(1))
    assert model.match_logits(image, model.text_tokens(ids), ids).isfinite()


@pytest.mark.parametrize("kind", [TwoLeg, OneTower])
def test_words_see_the_picture_or_not(kind):
    model = kind(SMALL)
    text = model.text_tokens(IDS)
    logits = [
        model.word_logits(model.image_tokens(pictures(seed=s)), text, IDS)
        for s in (0, 1)
    ]
    blind = model.word_logits(None, text, IDS)
    assert blind.shape == (3, 5, 20)
    assert not torch.allclose(*logits, atol=1e-4)
    assert not torch.allclose(blind, logits[0], atol=1e-4)


def test_who_shares_what():
    """Two towers share nothing; one tower has one set of layers."""
    two, leg, one = (kind(SMALL) for kind in ALL)
    assert count_parameters(one) < count_parameters(two)
    assert count_parameters(leg) > count_parameters(two)
    image = two.encode_images(pictures()).sum()
    image.backward()
    assert all(p.grad is None for p in two.text.parameters())
    one.encode_images(pictures()).sum().backward()
    assert all(p.grad is not None for p in one.tower.parameters())


def test_the_scale_is_bounded():
    model = TwoTower(SMALL)
    assert model.scale().item() == pytest.approx(1 / 0.07, rel=1e-4)
    model.logit_scale.data.fill_(50.0)
    assert model.scale().item() == 100


def test_what_a_framework_cannot_be():
    with pytest.raises(ValueError, match="image encoder"):
        TwoTower(sized(image_encoder="eye"))
    with pytest.raises(ValueError, match="both ways"):
        OneTower(sized(causal=True))
    with pytest.raises(ValueError, match="do not fill"):
        TwoTower(sized(patch_size=7))
    with pytest.raises(ValueError, match="heads"):
        TwoTower(sized(heads=3))
    with pytest.raises(ValueError, match="reads 8"):
        TwoTower(SMALL).encode_texts(torch.full((1, 9), 5))


# blocks and encoders


def test_attention_is_that_of_torch():
    with seeded_weights(0):
        ours = Attention(16, 4)
        theirs = torch.nn.MultiheadAttention(16, 4, batch_first=True)
        x, context = torch.randn(2, 3, 16), torch.randn(2, 5, 16)
    stacked = [ours.query, ours.key_value]
    theirs.in_proj_weight.data = torch.cat([p.weight for p in stacked])
    theirs.in_proj_bias.data = torch.cat([p.bias for p in stacked])
    theirs.out_proj.load_state_dict(ours.out.state_dict())
    mask = torch.arange(5) < torch.tensor([5, 2])[:, None]
    mixed, weights = theirs(
        x, context, context, key_padding_mask=~mask, average_attn_weights=False
    )
    with watch_attention(ours) as (watched,):
        assert torch.allclose(ours(x, context, mask), mixed, atol=1e-6)
    assert torch.allclose(watched.weights, weights, atol=1e-6)
    assert not ours.watched


@pytest.mark.parametrize("masked", [False, True])
def test_causal_attention_sees_no_later_word(masked):
    with seeded_weights(0):
        stack = Transformer(16, 2, 2)
        x = torch.randn(1, 6, 16)
    mask = torch.ones(1, 6, dtype=torch.bool) if masked else None
    before = stack(x, mask, causal=True)
    x[:, 4:] += 5
    after = stack(x, mask, causal=True)
    assert torch.allclose(before[:, :4], after[:, :4], atol=1e-6)
    assert not torch.allclose(before[:, 4:], after[:, 4:], atol=1e-2)
    with watch_attention(stack) as parts:
        stack(x, mask, causal=True)
    assert parts[0].weights.triu(1).eq(0).all()
    assert torch.allclose(parts[0].weights.sum(-1), torch.ones(1, 2, 6))


@pytest.mark.parametrize("encoder", ["vit", "vit-conv", "cnn"])
def test_image_encoders_give_one_shape(encoder):
    model = TwoTower(sized(image_encoder=encoder, patch_size=4))
    tokens = model.image_tokens(pictures())
    assert tokens.shape == (3, 17, 16)
    model.encode_images(pictures()).sum().backward()
    grads = [p.grad is not None for p in model.image.parameters()]
    assert all(grads)


@pytest.mark.parametrize("patch", [2, 3, 4, 5, 6, 8, 12, 16])
def test_the_conv_stem_makes_one_token_a_patch(patch):
    stem = conv_stem(patch, 16)
    x = torch.randn(1, 3, 3 * patch, 3 * patch)
    assert stem(x).shape == (1, 16, 3, 3)


def test_a_convnet_knows_where_things_are():
    with seeded_weights(0):
        net = ConvNet(32, 8, 16, 0).eval()
    x = torch.zeros(1, 3, 32, 32)
    changed = x.clone()
    changed[..., :6, 26:] = 3.0  # inside the patch at the top right
    moved = (net(changed) - net(x)).abs().sum(-1)[0, 1:]
    assert moved.argmax() == 3


def test_a_vit_can_read_some_patches_only():
    with seeded_weights(0):
        vit = VisionTransformer(16, 4, 16, 2, 2)
    everything = torch.arange(16).expand(3, 16)
    full = vit(pictures())
    assert torch.allclose(vit(pictures(), everything), full, atol=1e-5)
    x = pictures()
    keep = torch.tensor([[0, 5]]).expand(3, 2)
    some = vit(x, keep)
    assert some.shape == (3, 3, 16)
    x[..., 8:, :] = 7.0  # rows of patches that were not read
    assert torch.equal(vit(x, keep), some)


def test_the_end_token_is_found():
    assert last_word(IDS).tolist() == [4, 2, 3]
    assert word_mask(IDS).sum(1).tolist() == [5, 3, 4]
    assert word_mask(IDS * 0).sum(1).tolist() == [1, 1, 1]
    assert last_word(IDS * 0).tolist() == [0, 0, 0]


# masked autoencoder


def autoencoder(text=False):
    with seeded_weights(0):
        encoder = VisionTransformer(16, 4, 16, 1, 2)
        reader = TextTransformer(20, 8, 16, 1, 2) if text else None
    return MaskedAutoencoder(encoder, reader, layers=1, heads=2)


def test_the_autoencoder_sees_only_what_is_left():
    mae = autoencoder()
    mask = torch.zeros(3, 16, dtype=torch.bool)
    mask[:, 4:] = True  # all but the first row of patches
    x = pictures()
    before = mae(x, mask)
    assert before.shape == (3, 16, 48)
    hidden = x.clone()
    hidden[..., 4:, :] = 9.0
    assert torch.equal(mae(hidden, mask), before)
    hidden[..., :4, :] += 1.0
    assert not torch.allclose(mae(hidden, mask), before, atol=1e-4)


def test_the_autoencoder_puts_patches_where_they_were():
    """With all masks equal in number, rows may hide different patches."""
    mae = autoencoder()
    x = pictures(1).expand(2, -1, -1, -1)
    masks = torch.zeros(2, 16, dtype=torch.bool)
    masks[0, :8], masks[1, 8:] = True, True
    both = mae(x, masks)
    for k in range(2):
        alone = mae(x[k : k + 1], masks[k : k + 1])
        assert torch.allclose(both[k], alone[0], atol=1e-5)
    with pytest.raises(ValueError, match="equally many"):
        mae(x, masks & torch.tensor([[True], [False]]))


def test_the_autoencoder_may_read():
    mae = autoencoder(text=True)
    mask = torch.ones(3, 16, dtype=torch.bool)
    guesses = [mae(pictures(), mask, ids) for ids in (None, IDS, IDS.flip(0))]
    assert guesses[0].isfinite().all()  # nothing seen, nothing read
    assert not torch.allclose(guesses[0], guesses[1], atol=1e-4)
    assert not torch.allclose(guesses[1], guesses[2], atol=1e-4)
    with seeded_weights(0):
        conv = VisionTransformer(16, 4, 16, 1, 2, stem="conv")
    with pytest.raises(ValueError, match="linear"):
        MaskedAutoencoder(conv)


# words


def test_the_tokenizer_is_one_word_a_token():
    tokenizer = word_tokenizer(["a Dog, on grass", "two dogs"])
    assert len(tokenizer) == 5 + 7
    ids = to_ids(tokenizer, ["A dog on grass", "two cats"])
    assert ids[0, 0] == 2 and ids[0, -1] == 3
    assert ids[1].tolist()[2:] == [1, 3, 0, 0]  # cats is unknown
    assert to_text(tokenizer, ids[0]) == "a dog on grass"
    assert to_ids(tokenizer, []).shape == (0, 2)
    again = word_tokenizer(["two dogs", "a Dog, on grass"])
    assert again.get_vocab() == tokenizer.get_vocab()


# decoding


def table(seed, vocabulary=5):
    """A language model that looks at the last word and the length."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(8, vocabulary, vocabulary, generator=generator)

    def next_logits(ids):
        return rows[ids.shape[1], ids[:, -1]]

    return next_logits


def every_caption(next_logits, length, penalty, end=3, vocabulary=5):
    """The best of all captions, by trying them."""
    best = (-float("inf"), None)

    def grow(ids, score):
        nonlocal best
        if ids[-1] == end or len(ids) == length:
            rated = score / (len(ids) - 1) ** penalty
            best = max(best, (rated, ids), key=lambda found: found[0])
            return
        scores = next_logits(torch.tensor([ids])).log_softmax(-1)[0]
        for word in range(vocabulary):
            grow([*ids, word], score + scores[word].item())

    grow([2], 0.0)
    return best


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_wide_beam_finds_the_best_caption(seed, penalty):
    model = table(seed)
    ids, score = beam(model, width=400, length=5, length_penalty=penalty)
    best, wanted = every_caption(model, 5, penalty)
    assert ids.tolist() == wanted
    assert score == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_greedy_takes_the_likeliest_word(seed):
    model = table(seed)
    ids = greedy(model, rows=2, length=6)
    assert torch.equal(ids[0], ids[1])
    row = ids[0].tolist()
    for k in range(1, len(row)):
        scores = model(torch.tensor([row[:k]]))
        assert row[k] == scores.argmax().item()
    assert row.count(3) <= 1 and (row[-1] == 3 or len(row) == 6)


def test_greedy_fills_up_after_the_end():
    calls = []

    def next_logits(ids):
        calls.append(ids.shape[1])
        logits = torch.zeros(2, 6)
        logits[0, 3] = logits[1, 5] = 1.0  # row 0 ends at once
        if ids.shape[1] == 3:
            logits[1, 3] = 2.0
        return logits

    ids = greedy(next_logits, rows=2, length=10)
    assert ids.tolist() == [[2, 3, 0, 0], [2, 5, 5, 3]]
    assert calls == [1, 2, 3]
    assert greedy(next_logits, rows=0).shape == (0, 1)


def test_decoding_is_that_of_transformers():
    with seeded_weights(3):
        model = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=12,
                n_embd=16,
                n_layer=1,
                n_head=2,
                n_positions=16,
                initializer_range=0.5,
                bos_token_id=2,
                eos_token_id=3,
                pad_token_id=0,
            )
        ).eval()
    start = torch.tensor([[2]])
    options = {"max_length": 8, "do_sample": False, "pad_token_id": 0}
    with torch.no_grad():
        theirs = model.generate(start, **options)
        ours = greedy(lambda ids: model(ids).logits[:, -1], 1, 8)
        assert torch.equal(ours, theirs)
        theirs = model.generate(start, num_beams=3, length_penalty=0.0, **options)
        ids, _ = beam(lambda ids: model(ids).logits[:, -1], 3, 8, 0.0)
    assert torch.equal(ids, theirs[0])


def test_a_causal_two_leg_writes():
    model = TwoLeg(sized(causal=True)).eval()
    rows = write_captions(model, pictures())
    assert len(rows) == 3 and all(row[0] == 2 for row in rows)
    assert all(len(row) <= 8 for row in rows)
    one = write_captions(model, pictures(1), beams=2, length=5)
    assert len(one) == 1 and len(one[0]) <= 5
    assert write_captions(model, pictures(0)) == []
    with pytest.raises(ValueError, match="causal"):
        write_captions(TwoLeg(SMALL), pictures())
    with pytest.raises(ValueError, match="at least one beam"):
        write_captions(model, pictures(1), beams=0)


def test_a_caption_being_written_knows_nothing_of_its_future():
    model = TwoLeg(sized(causal=True)).eval()
    image = model.image_tokens(pictures(1))
    ids = IDS[:1].clone()
    before = model.word_logits(image, model.text_tokens(ids), ids)
    ids[:, 3] = 11
    after = model.word_logits(image, model.text_tokens(ids), ids)
    assert torch.allclose(before[:, :3], after[:, :3], atol=1e-6)
    assert not torch.allclose(before[:, 3:], after[:, 3:], atol=1e-4)
