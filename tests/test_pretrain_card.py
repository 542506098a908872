"""The card of a trained model says what the run knows of itself."""

import json
import re
import shlex
from dataclasses import asdict, replace

import pytest
from test_pretrain_run import TINY

from vlmtutor.__main__ import main
from vlmtutor.pretrain.card import (
    FIGURES,
    card,
    pairs_seen,
    told,
    write_card,
    write_figures,
)
from vlmtutor.pretrain.cli import parse_config
from vlmtutor.pretrain.config import RECIPES
from vlmtutor.pretrain.corpus import SOURCES
from vlmtutor.pretrain.run import Pretraining

STICKERCLIP, PAIRCLIP = RECIPES["stickerclip"], RECIPES["pairclip"]


def about(config, **more):
    return {
        "config": asdict(config),
        "steps": 5000,
        "seconds": 480.0,
        "date": "2026-01-02",
        "machine": {"device": "NVIDIA H200", "cores": 16},
    } | more


@pytest.fixture
def folder(tmp_path):
    """One with weights of 21 MB, as their size is what the card asks for."""
    model = tmp_path / "stickerclip"
    model.mkdir()
    (model / "model.safetensors").write_bytes(bytes(21_000_000))
    return model


def test_a_card_tells_machine_time_data_and_licences(folder):
    text = card(folder, about(STICKERCLIP))
    for fact in (
        "# StickerCLIP",
        "10.5 M parameters, 21.0 MB",
        "Trained in 8.0 minutes on NVIDIA H200, 16 cores (2026-01-02)",
        f"5,000 steps of {STICKERCLIP.batch_size} scenes",
        f"pairs: {5000 * STICKERCLIP.batch_size}\n",
        "From nothing.",
        "OpenMoji",
        "CC BY-SA 4.0",
        "all-MiniLM-L6-v2",
        "python -m vlmtutor evaluate",
    ):
        assert fact in text, fact
    assert "no scene shows together" in text and "weighs 0.75" in text
    for source in SOURCES:
        assert source.licence in text and source.remedy in text
    assert "$" not in text and "None" not in text
    assert "Two parts." in card(folder, about(STICKERCLIP, note="Two parts."))
    tuned = card(folder, about(STICKERCLIP, origin="candidate"))
    assert "Begun with the weights of candidate." in tuned


def test_what_a_model_was_told_follows_from_its_losses(folder):
    def what(config):
        return [row[0] for row in told(config)]

    assert what(PAIRCLIP) == ["pictures and their captions"]
    everything = what(STICKERCLIP)
    assert len(everything) == 5 and "all 416 names" in everything
    no_texts = what(replace(STICKERCLIP, bank_weight=0.0, teacher_weight=0.0))
    assert "texts without a picture" not in no_texts
    pairs = "pictures and their captions"
    phrases = what(replace(PAIRCLIP, local_weight=1.0))
    assert phrases == [pairs, "which phrases a picture holds"]
    assert what(RECIPES["phraseclip"]) == [pairs, "the parts of a caption"]
    text = card(folder, about(PAIRCLIP))
    assert "No other text and no other model was used." in text
    assert "no scene shows together" not in text and "choice of a knob" in text
    assert not any(source.licence in text for source in SOURCES)


@pytest.mark.parametrize("recipe", RECIPES)
def test_its_command_trains_the_same_again(folder, recipe):
    config = replace(RECIPES[recipe], steps=77, lr=2e-4, bf16=False)
    text = card(folder, about(config))
    line = re.search(r"^python -m vlmtutor pretrain .*$", text, re.M)[0]
    words = shlex.split(line)
    settings = [b for a, b in zip(words, words[1:], strict=False) if a == "--set"]
    name = words[words.index("--recipe") + 1]
    assert name == recipe and parse_config(settings, name) == config


def test_figures_take_their_place_and_that_of_the_last(folder):
    write_card(folder, about(PAIRCLIP))
    before = (folder / "README.md").read_text(encoding="utf-8")
    for table in ("| top-1 | 99 % |", "| top-1 | 98 % |"):
        path = write_figures(folder, table + "\n")
        text = path.read_text(encoding="utf-8")
        assert text.count("| top-1 |") == 1 and table in text
        assert text.split(FIGURES[0])[0] == before.split(FIGURES[0])[0]
        assert text.split(FIGURES[1])[1] == before.split(FIGURES[1])[1]
    assert pairs_seen(folder) == 5000 * PAIRCLIP.batch_size
    (folder / "README.md").write_text("no place", encoding="utf-8")
    with pytest.raises(ValueError, match="no place for figures"):
        write_figures(folder, "x")
    assert pairs_seen(folder) is None and pairs_seen(folder / "no") is None


def test_an_export_has_its_card_and_a_run_its_facts(tmp_path, monkeypatch):
    monkeypatch.setattr("vlmtutor.pretrain.run.common_words", list)
    training = Pretraining(tmp_path / "run", TINY)
    training.run(2)
    folder = training.export(tmp_path / "model")
    log = json.loads((tmp_path / "run" / "log.json").read_text(encoding="utf-8"))
    assert log["steps"] == 2 and log["origin"] is None
    assert log["seconds"] == round(training.seconds, 1) and training.seconds > 0
    assert log["machine"]["cores"] and log["config"]["batch_size"] == 4
    written = (folder / "README.md").read_text(encoding="utf-8")
    assert written == card(folder, log)
    second = Pretraining(tmp_path / "second", replace(TINY, first_size=48))
    second.warm_start(folder)
    second.run(1)
    again = Pretraining(tmp_path / "second", second.config)
    assert again.origin == "model" and again.before == second.before
    assert again.before["steps"] == 2 and "log" not in again.before
    assert again.about()["before"]["config"]["batch_size"] == 4


def test_a_model_without_a_card_is_told_at_once(tmp_path, capsys):
    words = ["evaluate", "--card", "--model", str(tmp_path)]
    assert main(words) == 1
    assert capsys.readouterr().err


def test_a_card_counts_the_runs_that_a_model_went_through(folder):
    first = about(PAIRCLIP, steps=1000, seconds=60.0, note="Cut short.")
    config = replace(PAIRCLIP, steps=500, lr=1e-4)
    text = card(folder, about(config, steps=500, origin="one", before=first))
    assert f"pairs: {1500 * PAIRCLIP.batch_size}\n" in text
    assert f"1,000 steps with {1000 * PAIRCLIP.batch_size:,} pictures" in text
    assert "1.0 minutes" in text and "Cut short. Then 500 steps" in text
    lines = re.findall(r"^python -m vlmtutor pretrain .*$", text, re.M)
    assert [line.endswith("--warm-start runs/1") for line in lines] == [False, True]
    assert "--folder runs/1" in lines[0] and "--set lr=0.0001" in lines[1]
