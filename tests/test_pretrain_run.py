"""The training loop: interruptions cost nothing, and the pieces fit."""

import json
import math
from dataclasses import fields, replace

import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPModel

from vlmtutor.__main__ import main
from vlmtutor.pretrain import run as module
from vlmtutor.pretrain.build import resize_positions
from vlmtutor.pretrain.cli import parse_config
from vlmtutor.pretrain.config import PAIRS_ONLY, RECIPES, PretrainConfig
from vlmtutor.pretrain.forward import encode_texts
from vlmtutor.pretrain.losses import total
from vlmtutor.pretrain.run import CHECKPOINT, Pretraining
from vlmtutor.pretrain.teacher import TextTargets

TINY = PretrainConfig(
    vision_width=32, vision_layers=2, vision_head=16, text_width=32,
    text_layers=1, text_length=16, embed_dim=16, vocabulary=0, first_size=32,
    final_size=48, batch_size=4, mosaics=1, every_category=90, text_batch=4,
    steps=8, warmup=2, average=0.9, final_share=0.25, bank_weight=0.0,
    teacher_weight=0.0,
)  # fmt: skip
POSITIONS = "vision_model.embeddings.position_embedding.weight"


@pytest.fixture(autouse=True)
def no_encoder_and_one_thread(monkeypatch):
    """The word list comes with the sentence encoder, so leave that out."""
    monkeypatch.setattr(module, "common_words", list)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made_up_targets(vocabulary, folder, config):
    """So that the terms of free text are trained without the encoder."""
    generator = torch.Generator().manual_seed(0)
    embeds = F.normalize(torch.randn(6, 384, generator=generator), dim=-1)
    texts = ["a moon", "fun", "zip", "cold sea", "no", "what now"]
    top = torch.tensor([[0, 90], [90, 180], [0, 3]] * 2)
    return TextTargets(texts, embeds, top, torch.full((6, 2), 0.5), 3)


@pytest.fixture
def free_texts(monkeypatch):
    monkeypatch.setattr(module, "text_targets", made_up_targets)


def snapshot(training):
    """Everything that training changes, flat."""
    found = {f"trainer.{k}": v for k, v in training.trainer.state_dict().items()}
    found |= {f"averaged.{k}": v for k, v in training.averaged.items()}
    for k, state in training.optimizer.state_dict()["state"].items():
        found |= {f"adam.{k}.{name}": v for name, v in state.items()}
    return {k: v.clone() for k, v in found.items()}


def assert_equal(one, two):
    assert one.keys() == two.keys()
    for name in one:
        assert torch.equal(one[name], two[name]), name


@pytest.mark.parametrize("bf16", [True, False])
def test_interruptions_change_no_bit(tmp_path, free_texts, bf16):
    """Stopped early, just before and just after the canvas grows."""
    config = replace(TINY, bf16=bf16, bank_weight=0.5, teacher_weight=0.5)
    whole = Pretraining(tmp_path / "whole", config)
    whole.run()
    assert whole.step == 8 and whole.size == 48
    for until in (3, 6, 7, None):
        parts = Pretraining(tmp_path / "parts", config)
        assert parts.step == {3: 0, 6: 3, 7: 6, None: 7}[until]
        parts.run(until)
    assert parts.step == 8
    assert_equal(snapshot(whole), snapshot(parts))
    again = Pretraining(tmp_path / "whole", config)
    assert_equal(snapshot(whole), snapshot(again))
    again.run()  # nothing left to do
    assert_equal(snapshot(whole), snapshot(again))


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path):
    whole = Pretraining(tmp_path / "whole", TINY)
    whole.run(5)
    killed = Pretraining(tmp_path / "killed", TINY)
    killed.run(2)
    for _ in range(2):  # done, but never written
        killed.train_step()
    del killed
    # the power went while the next checkpoint was being written
    (tmp_path / "killed" / f"{CHECKPOINT}.new").write_bytes(b"half a file")
    after = Pretraining(tmp_path / "killed", TINY)
    assert after.step == 2
    after.run(5)
    assert_equal(snapshot(whole), snapshot(after))
    assert not (tmp_path / "killed" / f"{CHECKPOINT}.new").exists()


def test_a_torn_checkpoint_is_named_with_the_way_on(tmp_path):
    torn = tmp_path / "checkpoint.pt"
    torn.write_bytes(b"PK\3\4 and no more")
    with pytest.raises(ValueError, match="checkpoint.pt.*remove it"):
        Pretraining(tmp_path, TINY)


def test_the_seed_decides(tmp_path):
    def after(name, seed):
        training = Pretraining(tmp_path / name, replace(TINY, seed=seed))
        torch.manual_seed(len(name))  # global state has no say
        training.run(2)
        return training.trainer.clip.state_dict()

    one, same, other = after("a", 0), after("bb", 0), after("c", 1)
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert not torch.equal(one[POSITIONS], other[POSITIONS])


def test_training_moves_every_weight_and_the_average_follows(tmp_path):
    training = Pretraining(tmp_path, TINY)
    before = {k: v.clone() for k, v in training.trainer.clip.state_dict().items()}
    terms = training.train_step()
    assert set(terms) == {"clip", "local", "naming", "label"}
    assert all(math.isfinite(v) for v in terms.values())
    training.train_step()
    now = training.trainer.clip.state_dict()
    for name, p in training.trainer.clip.named_parameters():
        assert not torch.equal(before[name], p), name
    decay = 2 / 11  # a young average forgets fast: (1 + step) / (10 + step)
    one = Pretraining(tmp_path / "again", TINY)
    one.train_step()
    first = one.trainer.clip.state_dict()[POSITIONS]
    half = before[POSITIONS] * 0.1 + first * 0.9
    expected = half * decay + now[POSITIONS] * (1 - decay)
    assert torch.allclose(training.averaged[POSITIONS], expected, atol=1e-6)


def test_the_canvas_grows_and_the_rest_stays(tmp_path, free_texts):
    config = replace(TINY, bank_weight=0.5, teacher_weight=0.5)
    training = Pretraining(tmp_path, config)
    training.run(6)
    assert training.size == 32
    before, averaged = snapshot(training), dict(training.averaged)
    old = training.trainer.clip
    training.enlarge()
    after = snapshot(training)
    assert training.size == 48
    assert training.trainer.clip.config.vision_config.image_size == 48
    for name in before:
        fits = name.startswith(("trainer.", "averaged."))
        if fits and not name.endswith((POSITIONS, "position_ids")):
            assert torch.equal(before[name], after[name]), name
    expected = resize_positions(old, 48).state_dict()[POSITIONS]
    assert torch.equal(after[f"trainer.clip.{POSITIONS}"], expected)
    old.load_state_dict(averaged)
    expected = resize_positions(old, 48).state_dict()[POSITIONS]
    assert torch.equal(after[f"averaged.{POSITIONS}"], expected)
    # the new optimiser holds the new weights, each once
    held = [id(p) for g in training.optimizer.param_groups for p in g["params"]]
    assert sorted(held) == sorted(map(id, training.trainer.parameters()))
    assert not training.optimizer.state
    training.run(7)
    moved = snapshot(training)
    for name in ("trainer.to_teacher.weight", f"trainer.clip.{POSITIONS}"):
        assert not torch.equal(after[name], moved[name])


def test_a_warm_start_takes_over_the_average(tmp_path, free_texts):
    config = replace(TINY, bank_weight=0.5, teacher_weight=0.5)
    first = Pretraining(tmp_path / "first", config)
    first.run()
    fresh = Pretraining(tmp_path / "second", replace(config, steps=20))
    fresh.warm_start(tmp_path / "first")
    assert fresh.step == 0 and fresh.size == 32
    ours = fresh.trainer.clip.state_dict()
    for name, weight in first.averaged.items():
        if not name.endswith((POSITIONS, "position_ids")):
            assert torch.equal(ours[name], weight), name
        assert torch.equal(ours[name], fresh.averaged[name])
    assert ours[POSITIONS].shape == (17, 32)
    for name in ("bank", "to_teacher.weight", "to_teacher.bias"):
        theirs = first.trainer.state_dict()[name]
        assert theirs.any()
        assert torch.equal(fresh.trainer.state_dict()[name], theirs)
    fresh.run(2)
    later = snapshot(fresh)
    fresh.warm_start(tmp_path / "first")  # it has begun: nothing happens
    assert_equal(later, snapshot(fresh))
    with pytest.raises(FileNotFoundError):
        Pretraining(tmp_path / "third", config).warm_start(tmp_path / "no")


@pytest.mark.parametrize(("raw", "limit"), [(9.0, 100.0), (-4.0, 1.0)])
def test_the_scale_stays_between_1_and_100(tmp_path, raw, limit):
    training = Pretraining(tmp_path, TINY)
    with torch.no_grad():
        training.trainer.clip.logit_scale.fill_(raw)
    training.train_step()
    scale = training.trainer.clip.logit_scale.exp().item()
    assert scale == pytest.approx(limit, rel=1e-5)


def test_matrices_decay_and_nothing_else(tmp_path):
    training = Pretraining(tmp_path, TINY)
    decaying, rest = training.optimizer.param_groups
    assert decaying["weight_decay"] == TINY.weight_decay
    assert rest["weight_decay"] == 0
    names = {id(p): n for n, p in training.trainer.named_parameters()}
    for p in decaying["params"]:
        name = names[id(p)].removesuffix(".weight")
        assert p.ndim > 1 and not name.endswith(
            ("token_embedding", "position_embedding")
        )
    kept = " ".join(names[id(p)] for p in rest["params"])
    for part in ("logit_scale", "position_embedding", "layer_norm", ".bias"):
        assert part in kept


def test_the_log_holds_means_of_a_hundred_steps(tmp_path):
    values = iter(range(1, 1000))

    def step(self, item):
        self.step += 1
        return {"clip": float(next(values))}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pretraining, "train_step", step)
        config = replace(TINY, steps=220)
        Pretraining(tmp_path, config).run(150)
        Pretraining(tmp_path, config).run()
    stored = json.loads((tmp_path / "log.json").read_text(encoding="utf-8"))
    rows = [(row["step"], row["clip"]) for row in stored["log"]]
    # steps 1 to 100; then 151 to 200, as the run went on in between
    assert rows == [(100, 50.5), (200, 175.5)]
    assert stored["config"]["steps"] == 220


def test_the_command_trains_and_exports(tmp_path, capsys):
    knobs = {f.name: getattr(TINY, f.name) for f in fields(TINY)}
    words = ["pretrain", "--folder", str(tmp_path / "run")]
    for name, value in knobs.items():
        words += ["--set", f"{name}={value}"]
    assert main([*words, "--until", "1"]) == 0
    assert (tmp_path / "run" / CHECKPOINT).exists()
    again = ["--until", "7", "--export", str(tmp_path / "model")]
    assert main([*words, *again]) == 0
    assert f"wrote {tmp_path / 'model'}" in capsys.readouterr().out
    exported = CLIPModel.from_pretrained(tmp_path / "model").float()
    training = Pretraining(tmp_path / "run", TINY)
    assert training.step == 7
    for name, weight in exported.state_dict().items():
        expected = training.averaged[name]
        assert torch.allclose(weight, expected, atol=1e-3), name
    other = training.trainer.clip.state_dict()[POSITIONS]
    assert not torch.allclose(exported.state_dict()[POSITIONS], other, 0, 1e-4)


def test_without_an_average_the_last_weights_are_exported(tmp_path):
    training = Pretraining(tmp_path / "run", replace(TINY, average=0.0))
    training.run(2)
    folder = training.export(tmp_path / "model")
    exported = CLIPModel.from_pretrained(folder).float().state_dict()
    for name, weight in training.trainer.clip.state_dict().items():
        assert torch.allclose(exported[name], weight, atol=1e-3), name


def test_knobs_are_parsed_by_kind():
    config = parse_config(["steps=12", "lr=2e-3", "bf16=False", "loss=sigmoid"])
    assert config == replace(
        RECIPES["stickerclip"], steps=12, lr=2e-3, bf16=False, loss="sigmoid"
    )
    assert parse_config([]) == RECIPES["stickerclip"]
    with pytest.raises(ValueError, match="no knob 'step': use one of vision"):
        parse_config(["step=12"])
    with pytest.raises(ValueError, match="steps is of type int, not 'many'"):
        parse_config(["steps=many"])
    with pytest.raises(ValueError, match="bf16 is True or False, not 'maybe'"):
        parse_config(["bf16=maybe"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--set", "stesp=3"], "no knob 'stesp'"),
        (["--set", "lr=fast"], "lr is of type float, not 'fast'"),
        (["--device", "mps"], "there is no mps here"),
        (["--recipe", "pairclip", "--warm-start", "nowhere"], "nowhere"),
        (["--recipe", "pairclip", "--warm-start", __file__], "give its folder"),
    ],
)
def test_a_wrong_word_is_one_line(tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert main(["pretrain", "--folder", str(tmp_path), *words]) in (1, 2)
    said = capsys.readouterr().err
    assert told in said and said.count("\n") == 1


def test_the_recipe_of_pairs_is_told_pairs(tmp_path):
    config = replace(TINY, **PAIRS_ONLY)
    training = Pretraining(tmp_path, config)
    size, batch, mosaics = training.steps[0]
    assert mosaics is None and training.targets is None
    blind = {  # what pictures and captions do not say
        "phrases": [],
        "present": torch.zeros(0, 4),
        "categories": [],
        "single": torch.full((4,), -1),
    }
    terms = training.train_step((size, replace(batch, **blind), None))
    assert set(terms) == {"clip"}
    twin = Pretraining(tmp_path / "twin", config)
    assert twin.train_step() == terms
    equal = [[a == b for b in batch.captions] for a in batch.captions]
    assert batch.same.tolist() == equal
    assert parse_config([], "pairclip") == RECIPES["pairclip"]
    for name, value in PAIRS_ONLY.items():
        assert getattr(RECIPES["pairclip"], name) == value


def test_phraseclip_is_told_no_more_than_the_captions(tmp_path):
    """What is there, and how many kinds, may change without a difference."""
    told = {"local_weight": 1.0, "phrases": "caption"}
    training = Pretraining(tmp_path, replace(TINY, **PAIRS_ONLY | told))
    size, batch, mosaics = training.steps[0]
    assert mosaics is None and training.targets is None
    blind = {"categories": [], "single": torch.full((4,), -1)}
    terms = training.train_step((size, replace(batch, **blind), None))
    assert set(terms) == {"clip", "local"}
    twin = Pretraining(tmp_path / "twin", training.config)
    assert twin.train_step() == terms
    for name, value in (PAIRS_ONLY | told).items():
        assert getattr(RECIPES["phraseclip"], name) == value


def test_any_number_of_processes_draws_the_same_scenes(tmp_path):
    """Also across the step at which the canvas grows."""
    for processes in (0, 2):
        training = Pretraining(tmp_path / str(processes), TINY, processes=processes)
        training.run()
        found = snapshot(training)
        if processes == 0:
            alone = found
    assert_equal(alone, found)


def test_a_warm_start_takes_a_models_folder(tmp_path, free_texts):
    config = replace(TINY, bank_weight=0.5, teacher_weight=0.5, first_size=48)
    first = Pretraining(tmp_path / "first", config)
    first.run(3)
    folder = first.export(tmp_path / "model")
    fresh = Pretraining(tmp_path / "second", config)
    fresh.warm_start(folder)
    ours = fresh.trainer.clip.state_dict()
    for name, weight in first.averaged.items():  # the folder is in fp16
        assert torch.allclose(ours[name], weight, atol=1e-3), name
        assert torch.equal(ours[name], fresh.averaged[name])
    # the map to the teacher is fitted: better than what chance began with
    read = fresh.trainer.to_teacher
    texts = fresh.targets.texts
    with torch.no_grad():
        _, states = encode_texts(fresh.trainer.clip, fresh.tokenizer, texts)
        cosines = F.cosine_similarity(read(states), fresh.targets.embeds)
    assert cosines.mean() > 0.5
    fresh.run(2)
    with pytest.raises(ValueError, match="another shape .* text_model"):
        other = Pretraining(tmp_path / "wide", replace(config, text_width=64))
        other.warm_start(folder)


def test_a_warm_start_refuses_other_words(tmp_path, monkeypatch, capsys):
    folder = Pretraining(tmp_path / "first", TINY).export(tmp_path / "model")
    monkeypatch.setattr(module, "common_words", lambda: ["quixotic"])
    with pytest.raises(ValueError, match="another tokenizer"):
        Pretraining(tmp_path / "o", replace(TINY, vocabulary=9)).warm_start(folder)


def test_naming_grows_in_the_second_half():
    config = replace(TINY, naming_weight=0.5, naming_growth=2.0, steps=10)
    assert [config.naming_at(step) for step in (0, 4, 5, 9)] == [0.5, 0.5, 1, 1]
    assert replace(config, naming_growth=1.0).naming_at(9) == 0.5
    terms = {"naming": torch.tensor(3.0)}
    assert total(terms, config, 2) == 1.5 and total(terms, config, 7) == 3


def test_stickerclips_recipe_is_wide_and_pairclips_stays():
    ours, twin = RECIPES["stickerclip"], RECIPES["pairclip"]
    shape = ("text_width", "text_layers", "vision_width", "vocabulary", "embed_dim")
    assert all(getattr(ours, k) == getattr(twin, k) for k in shape)
    assert ours.posed_share and ours.line_share
    assert not twin.posed_share and not twin.line_share
