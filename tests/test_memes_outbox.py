"""The output folder: links, torn notes, locked files, two runs at a time."""

import json
import os
import threading
import time

import pytest

from vlmtutor.memes import outbox
from vlmtutor.memes.outbox import Outbox


def visible(out):
    return {p.name for p in out.iterdir() if not p.name.startswith(".")}


def write_text(text):
    return lambda path: path.write_text(text)


def test_survives_a_damaged_journal(tmp_path):
    Outbox(tmp_path).write("a", "a", ".txt", "1", write_text("one"))
    journal = tmp_path / ".vlmtutor" / "journal.jsonl"
    with journal.open("ab") as file:
        file.write(b'\n{"role": "b"}\nnull\n[1]\n\xff\xfe\n')
        file.write(
            b'{"role":"c","file":"../up.txt","key":"","sha256":"","replaces":""}\n{"ro'
        )
    box = Outbox(tmp_path)
    assert box.roles() == ["a"]
    path, written = box.write("a", "a", ".txt", "1", write_text("one"))
    assert (path.name, written) == ("a.txt", False)


def test_interrupted_before_the_move(tmp_path, monkeypatch):
    Outbox(tmp_path).write("a", "a", ".txt", "1", write_text("one"))

    def no_move(source, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", no_move)
        with pytest.raises(KeyboardInterrupt):
            Outbox(tmp_path).write("a", "a", ".txt", "2", write_text("two"))
    assert (tmp_path / "a.txt").read_text() == "one"
    path, written = Outbox(tmp_path).write("a", "a", ".txt", "2", write_text("two"))
    assert path.name == "a.txt" and written and path.read_text() == "two"
    assert visible(tmp_path) == {"a.txt"}


def test_never_follows_a_link_out(tmp_path):
    out, outside = tmp_path / "out", tmp_path / "outside.txt"
    outside.write_text("precious")
    out.mkdir()
    (out / "a.txt").symlink_to(outside)
    path, _ = Outbox(out).write("a", "a", ".txt", "1", write_text("one"))
    assert path.name == "a-2.txt" and outside.read_text() == "precious"


@pytest.mark.parametrize("name", ["journal.jsonl", "lock"])
def test_a_link_in_the_hidden_folder_leads_nowhere(tmp_path, name):
    """A folder that somebody sent may hold one."""
    out, victim = tmp_path / "out", tmp_path / "profile"
    (out / ".vlmtutor").mkdir(parents=True)
    victim.write_text("mine")
    (out / ".vlmtutor" / name).symlink_to(victim)
    for text in ("one", "two"):
        Outbox(out).write("$(run)", "a", ".txt", text, write_text(text))
    assert victim.read_text() == "mine"
    assert not (out / ".vlmtutor" / name).is_symlink()
    assert visible(out) == {"a.txt"} and (out / "a.txt").read_text() == "two"


def test_a_hidden_folder_that_is_a_link_gives_way_to_a_real_one(tmp_path):
    out, downloads = tmp_path / "out", tmp_path / "downloads"
    out.mkdir(), downloads.mkdir()
    (downloads / "film.mkv.part").write_text("half of it")
    (out / ".vlmtutor").symlink_to(downloads)
    for _ in range(2):
        Outbox(out).write("a", "a", ".txt", "1", write_text("one"))
    assert [p.name for p in downloads.iterdir()] == ["film.mkv.part"]
    assert (out / ".vlmtutor").is_dir() and visible(out) == {"a.txt"}


@pytest.mark.parametrize("cut", [1, 30])
def test_a_torn_note_does_not_swallow_the_next(tmp_path, cut):
    for name in "ab":
        Outbox(tmp_path).write(name, name, ".txt", "1", write_text(name))
    journal = tmp_path / ".vlmtutor" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-cut])
    (tmp_path / "b.txt").unlink()
    for _ in range(3):
        for name in "ab":
            Outbox(tmp_path).write(name, name, ".txt", "1", write_text(name))
    assert visible(tmp_path) == {"a.txt", "b.txt"}


def test_half_files_go_only_when_no_run_can_want_them(tmp_path):
    hidden = tmp_path / ".vlmtutor"
    hidden.mkdir()
    for name in ("0123456789abcdef.part", "fedcba9876543210.part", "film.mkv.part"):
        (hidden / name).write_text("half")
    old = time.time() - 2 * outbox.FORGOTTEN
    for name in ("0123456789abcdef.part", "film.mkv.part"):
        os.utime(hidden / name, (old, old))
    Outbox(tmp_path)
    left = sorted(p.name for p in hidden.glob("*.part"))
    assert left == ["fedcba9876543210.part", "film.mkv.part"]


def test_a_second_run_leaves_the_first_ones_work_alone(tmp_path):
    first = Outbox(tmp_path)

    def slowly(part):
        part.write_text("first")
        other = Outbox(tmp_path)
        other.write("other", "a", ".txt", "1", write_text("second"))
        other.write("same", "s", ".txt", "1", write_text("same"))

    path, _ = first.write("mine", "a", ".txt", "1", slowly)
    assert path.name == "a-2.txt" and path.read_text() == "first"
    assert (tmp_path / "a.txt").read_text() == "second"
    # What the other noted counts: the same role has one file.
    path, _ = first.write("same", "s", ".txt", "2", write_text("newer"))
    assert path.name == "s.txt" and path.read_text() == "newer"
    assert visible(tmp_path) == {"a.txt", "a-2.txt", "s.txt"}


def test_many_writers_lose_nothing(tmp_path):
    problems = []

    def work(who):
        try:
            box = Outbox(tmp_path)
            for i in range(8):
                box.write(f"{who} {i}", "x", ".txt", "1", write_text(f"{who} {i}"))
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(who,)) for who in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    found = {p.read_text() for p in tmp_path.glob("*.txt")}
    assert found == {f"{who} {i}" for who in "abcd" for i in range(8)}
    assert len(Outbox(tmp_path).roles()) == 32


def test_a_file_that_is_locked_for_a_moment_is_waited_for(tmp_path, monkeypatch):
    real, refusals = os.replace, [1, 2]

    def replace(source, target):
        if refusals:
            refusals.pop()
            raise PermissionError(13, "used by another process")
        real(source, target)

    monkeypatch.setattr(outbox, "_RETRIES", (0, 0, 0))
    monkeypatch.setattr(os, "replace", replace)
    path, _ = Outbox(tmp_path).write("a", "a", ".txt", "1", write_text("one"))
    assert path.read_text() == "one"


def test_where_nothing_can_be_locked_it_goes_without(tmp_path, monkeypatch):
    def no_locks(*args, **kwargs):
        raise NotImplementedError("this file system has no locks")

    monkeypatch.setattr(outbox.FileLock, "acquire", no_locks)
    Outbox(tmp_path).write("a", "a", ".txt", "1", write_text("one"))
    assert visible(tmp_path) == {"a.txt"}


def test_many_names_of_one_beginning_are_numbered_in_one_pass(tmp_path, monkeypatch):
    tried = []
    real = os.path.lexists
    monkeypatch.setattr(os.path, "lexists", lambda p: tried.append(p) or real(p))
    box = Outbox(tmp_path)
    for i in range(20):
        box.write(str(i), "x", ".txt", "1", write_text("x"))
    names = [path for path in map(str, tried) if path.endswith(".txt")]
    assert len(names) == 20 == len(visible(tmp_path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize("name", ["journal.jsonl", "lock"])
def test_no_pipe_is_waited_for(tmp_path, name):
    (tmp_path / ".vlmtutor").mkdir()
    os.mkfifo(tmp_path / ".vlmtutor" / name)
    Outbox(tmp_path).write("a", "a", ".txt", "1", write_text("one"))
    assert Outbox(tmp_path).kept("a", "1") == tmp_path / "a.txt"


def test_what_stands_in_the_place_of_the_notes_is_named_and_left_alone(tmp_path):
    (tmp_path / ".vlmtutor").write_text("mine")
    with pytest.raises(FileExistsError, match="in .*vlmtutor is not ours: move it"):
        Outbox(tmp_path)
    assert (tmp_path / ".vlmtutor").read_text() == "mine"
    (tmp_path / "b" / ".vlmtutor" / "journal.jsonl").mkdir(parents=True)
    with pytest.raises(FileExistsError, match="is not ours"):
        Outbox(tmp_path / "b")
    (tmp_path / "c").symlink_to(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match="a link to nowhere: .*c$"):
        Outbox(tmp_path / "c")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("file", ["a\0b", "\ud800", "x" * 5000, "", ".", ".."])
def test_notes_of_files_that_cannot_be_are_as_none(tmp_path, file):
    Outbox(tmp_path).write("a", "a", ".txt", "1", write_text("one"))
    journal = tmp_path / ".vlmtutor" / "journal.jsonl"
    entry = json.loads(journal.read_text()) | {"file": file}
    with journal.open("a") as lines:
        lines.write(json.dumps(entry) + "\n")
    box = Outbox(tmp_path)
    box.remove("a")
    path, _ = box.write("a", "a", ".txt", "2", write_text("two"))
    assert path.read_text() == "two" and visible(tmp_path) <= {"a.txt", "a-2.txt"}


def test_a_run_reads_what_others_noted_and_nothing_of_its_own(tmp_path, monkeypatch):
    read = []
    loads = outbox.json.loads
    monkeypatch.setattr(outbox.json, "loads", lambda t: read.append(t) or loads(t))
    mine, other = Outbox(tmp_path), Outbox(tmp_path)

    def put(box, name):
        box.write(name, name, ".txt", "1", write_text(name))

    for name in "abc":
        put(mine, name)
    assert not any(read)
    put(other, "x")  # it reads three notes
    put(mine, "d")  # and this run the other's
    roles = [loads(note)["role"] for note in read if note]
    assert roles == ["a", "b", "c", "x"]
    assert set(mine.roles()) == {*"abcdx"} and len(set(other.roles())) == 4


def test_a_full_disk_is_told_with_the_folder(tmp_path):
    def full(path):
        raise OSError(28, "No space left on device")

    def named(path):
        raise OSError(13, "Permission denied", "elsewhere")

    box = Outbox(tmp_path / "out")
    with pytest.raises(OSError, match="No space left on device: '.*out'") as told:
        box.write("a", "a", ".txt", "1", full)
    assert told.value.errno == 28 and not list((tmp_path / "out").rglob("*.part"))
    with pytest.raises(PermissionError, match="'elsewhere'"):
        box.write("a", "a", ".txt", "1", named)
