"""kill -9 at every step of putting a set in place: clearing what is left gives what was there or the new set, whole."""

import errno
import os
import shutil
import signal

import builders
import pytest
import torch

import ckpt_viewer
from ckpt_viewer.errors import TargetExists, WriteFailed
from ckpt_viewer.export import placing
from ckpt_viewer.export.atomic import AtomicFile
from ckpt_viewer.export.choice import Choice
from ckpt_viewer.export.leftovers import find_leftovers, leftovers_text, remove_leftovers
from ckpt_viewer.export.part_names import OLD
from ckpt_viewer.export.plan import plan_export, write

pytestmark = [pytest.mark.torch, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]
STEPS = ("link", "unlink", "replace", "rename", "mkdir", "rmdir")
INDEX = "m.safetensors.index.json"


class Sets:
    """A folder, and files whose exports into it make sets: `one` and `other` of the same names, `more` of another."""

    def __init__(self, tmp_path):
        self.folder = tmp_path / "out"
        self.folder.mkdir()
        for value, (name, count) in enumerate({"one": 3, "other": 3, "third": 3, "more": 4}.items()):
            state = {f"w{number}": torch.full((1000,), float(value)) for number in range(count)}
            setattr(self, name, builders.save(state, tmp_path / f"{name}.pth"))

    def export(self, source, *, force=True):
        choice = Choice(("",), format="safetensors", max_shard_size=5000)
        with ckpt_viewer.open_checkpoint(source) as checkpoint:
            write(plan_export(checkpoint, choice), self.folder / "m.safetensors", force=force, verify=False)

    def contents(self):
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}

    def made_of(self, *sources):
        """Return what the folder holds that had nothing but these exports, one over the other."""
        self.empty()
        for source in sources:
            self.export(source)
        return self.contents()

    def empty(self):
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def clear(self):
        found = find_leftovers(self.folder)
        assert remove_leftovers(found) == found
        assert find_leftovers(self.folder) == []
        return found


def killed_at(step, do):
    """Do something in a child that is killed before its n-th change of a name; return whether it came that far."""
    pid = os.fork()
    if pid == 0:
        left = [step]

        def dying(real):
            def call(*args, **kwargs):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **kwargs)

            return call

        try:
            for name in STEPS:
                setattr(os, name, dying(getattr(os, name)))
            rename = placing._renamer()
            if rename is not None:
                placing._renamer = lambda: dying(rename)
            do()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def killed_at_each(do, prepare):
    """Yield the number of each step at which something was killed, each time from the beginning."""
    for step in range(1000):
        prepare()
        if not killed_at(step, do):
            return
        yield step


@pytest.fixture
def sets(tmp_path):
    return Sets(tmp_path)


def lacks(monkeypatch, *calls):
    """Make it a file system without some calls."""

    def refuse(*_):
        raise OSError(errno.EPERM, "not here")

    if "renameat2" in calls:
        monkeypatch.setattr(placing, "_renamer", lambda: lambda temporary, target: errno.EINVAL)
    if "link" in calls:
        monkeypatch.setattr(os, "link", refuse)


@pytest.mark.parametrize(("before", "lacking"), [("one", ""), ("one", "link"), ("more", "")])
def test_the_old_set_or_the_new_one(sets, monkeypatch, lacking, before):
    """Over one with the same names all comes back; of one with others, what is not replaced stays anyway."""
    lacks(monkeypatch, lacking)
    first = getattr(sets, before)
    new, old = sets.made_of(first, sets.other), sets.made_of(first)
    assert old != new
    outcomes = []
    for step in killed_at_each(lambda: sets.export(sets.other), lambda: sets.made_of(first)):
        shown = {name: data for name, data in sets.contents().items() if name in new}
        assert INDEX not in shown or shown in (old, new)
        left = len(sets.contents().keys() - new.keys())
        found = sets.clear()
        assert len(found) == left
        assert sets.contents() in (old, new), (step, leftovers_text(found))
        outcomes.append((sets.contents() == new, any(each.path.name.endswith(OLD) for each in found)))
    assert {(False, False), (False, True), (True, True)} <= set(outcomes)  # every kind of moment was met
    assert sets.contents() == new
    assert len(outcomes) > 10


@pytest.mark.parametrize("lacking", ["", "renameat2"])
@pytest.mark.parametrize("force", [False, True])
def test_nothing_or_the_new_set(sets, monkeypatch, lacking, force):
    lacks(monkeypatch, lacking)
    new = sets.made_of(sets.one)
    outcomes = set()
    for step in killed_at_each(lambda: sets.export(sets.one, force=force), sets.empty):
        named = {name for name in sets.contents() if name in new}
        assert all(sets.contents()[name] == new[name] for name in named)
        found = sets.clear()
        assert sets.contents() == (new if INDEX in named else {}), (step, leftovers_text(found))
        lost = sum(each.named is not None for each in found)
        assert lost == (0 if INDEX in named else len(named))
        outcomes.add((INDEX in named, len(named), bool(found)))
        if not force and not named:
            sets.export(sets.one, force=False)  # nothing stands in the way
    assert {(False, count, True) for count in range(4)} | {(True, 4, True)} == outcomes  # every kind of moment was met


@pytest.mark.parametrize("lacking", [("link",), ("link", "renameat2")], ids=" and ".join)
@pytest.mark.parametrize("before", ["nothing", "more"])
def test_without_hard_links_a_list_tells_what_is_ours(sets, monkeypatch, lacking, before):
    lacks(monkeypatch, *lacking)
    firsts = [] if before == "nothing" else [sets.more]
    new, old = sets.made_of(*firsts, sets.one), sets.made_of(*firsts)
    lost = set()
    for step in killed_at_each(lambda: sets.export(sets.one), lambda: sets.made_of(*firsts)):
        found = sets.clear()
        assert sets.contents() in (old, new), (step, leftovers_text(found))
        lost.add(sum(each.named is not None for each in found))
    assert {0, 1, 2, 3} <= lost  # every kind of moment was met


def test_a_disk_that_has_no_room_for_the_list(sets, monkeypatch):
    lacks(monkeypatch, "link")
    real = os.write

    def full(fd, data):
        if data[:5] == b'{"m-0':
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(WriteFailed, match="is full"):
        sets.export(sets.one)
    assert sets.contents() == {}


@pytest.mark.parametrize("how", ["renamed", "written to", "another"])
def test_what_a_list_names_and_became_a_users_own_stays(sets, monkeypatch, how):
    lacks(monkeypatch, "link")
    one, two = broken_off(sets)
    found = find_leftovers(sets.folder)
    data = one.read_bytes()
    if how == "renamed":
        one.rename(sets.folder / "precious")
    elif how == "written to":
        one.write_bytes(b"mine")
        found = find_leftovers(sets.folder)
    else:
        two.rename(sets.folder / "two")
        one.unlink()
        one.write_bytes(b"mine")
    remove_leftovers(found)
    left = sets.contents()
    assert {**left, "two": b""} == {
        "renamed": {"precious": data, "two": b""},
        "written to": {one.name: b"mine", "two": b""},
        "another": {one.name: b"mine", "two": b""},
    }[how]


@pytest.mark.parametrize("before", ["nothing", "one", "more"])
def test_clearing_that_is_killed_goes_on_where_it_was(sets, before):
    """At every step, after an export that was killed at each of its later ones."""
    firsts = [] if before == "nothing" else [getattr(sets, before)]
    new, old = sets.made_of(*firsts, sets.other), sets.made_of(*firsts)
    steps = sum(1 for _ in killed_at_each(lambda: sets.export(sets.other), lambda: sets.made_of(*firsts)))
    tried = 0
    for step in range(0, steps, 2):

        def broken_off(step=step):
            sets.made_of(*firsts)
            assert killed_at(step, lambda: sets.export(sets.other))

        def clear():
            remove_leftovers(find_leftovers(sets.folder))

        for again in killed_at_each(clear, broken_off):
            sets.clear()
            assert sets.contents() in (old, new), (step, again)
            tried += 1
    assert tried > 10


@pytest.mark.parametrize("before", ["nothing", "one"])
def test_several_that_were_killed_one_after_the_other(sets, before):
    firsts = [] if before == "nothing" else [sets.one]
    old = sets.made_of(*firsts)
    steps = sum(1 for _ in killed_at_each(lambda: sets.export(sets.other), lambda: sets.made_of(*firsts)))
    news = [old, sets.made_of(*firsts, sets.other), sets.made_of(*firsts, sets.third)]
    outcomes = []
    for first in range(0, steps, 2):
        for second in range(0, steps, 3):
            sets.made_of(*firsts)
            killed_at(first, lambda: sets.export(sets.other))
            if killed_at(second, lambda: sets.export(sets.third)):
                sets.clear()
                assert sets.contents() in news, (first, second)
                outcomes.append(news.index(sets.contents()))
    assert set(outcomes) == {0, 1, 2}


@pytest.mark.parametrize("before", ["nothing", "one", "more"])
def test_an_export_that_fails_at_its_end_and_is_killed_while_it_puts_all_back(sets, monkeypatch, before):
    firsts = [] if before == "nothing" else [getattr(sets, before)]
    old = sets.made_of(*firsts)
    commit, armed = AtomicFile._commit, []

    def failing(self):
        if armed and self.target.name == INDEX:
            raise WriteFailed("the disk is on fire")
        commit(self)

    def fail():
        armed.append(True)
        with pytest.raises(WriteFailed, match="on fire"):
            sets.export(sets.other)

    monkeypatch.setattr(AtomicFile, "_commit", failing)
    steps = 0
    for steps in killed_at_each(fail, lambda: sets.made_of(*firsts)):
        sets.clear()
        assert sets.contents() == old, steps
    assert steps > 8
    assert sets.contents() == old  # also where it was not killed


def broken_off(sets):
    """Leave a new set of which two files have their names."""
    sets.empty()
    for step in range(1000):
        killed_at(step, lambda: sets.export(sets.one, force=False))
        if sum(each.named is not None for each in find_leftovers(sets.folder)) == 2:
            return sorted(path for path in sets.folder.iterdir() if path.name.startswith("m-"))
        sets.empty()
    raise AssertionError


def test_it_says_how_many_have_their_names(sets):
    broken_off(sets)
    text = leftovers_text(find_leftovers(sets.folder))
    assert text.startswith("4 unfinished files (")
    assert text.endswith(", 2 of them under their final names)")
    with pytest.raises(TargetExists):
        sets.export(sets.one, force=False)
    sets.clear()
    sets.export(sets.one, force=False)


def test_what_became_a_users_own_stays(sets):
    """Renamed, replaced by another file, linked elsewhere; the rest goes."""
    one, two = broken_off(sets)
    data = one.read_bytes()
    mine, copy = sets.folder / "precious.safetensors", sets.folder / "copy"
    one.rename(mine)
    one.write_bytes(b"another program's")
    os.link(two, copy)
    sets.clear()
    assert sets.contents() == {one.name: b"another program's", mine.name: data, copy.name: copy.read_bytes()}


@pytest.mark.parametrize("when", ["before it is found", "after that"])
def test_files_that_have_an_index_by_now_stay(sets, when):
    one, two = broken_off(sets)
    found = find_leftovers(sets.folder)
    (sets.folder / INDEX).write_bytes(b"{}")
    if when == "before it is found":
        found = find_leftovers(sets.folder)
        assert all(each.named is None for each in found)
    assert remove_leftovers(found) == found
    assert sets.contents().keys() == {one.name, two.name, INDEX}


def test_names_as_long_as_can_be(sets):
    """The index has the longest name; those of the shards begin alike."""
    target = sets.folder / ("ä" * 109 + ".safetensors")
    choice = Choice(("",), format="safetensors", max_shard_size=5000)

    def export():
        with ckpt_viewer.open_checkpoint(sets.one) as checkpoint:
            write(plan_export(checkpoint, choice), target, verify=False)

    lost = 0
    for _ in killed_at_each(export, sets.empty):
        named = len([name for name in sets.contents() if name.startswith("ä")])
        sets.clear()
        assert len(sets.contents()) == (4 if named == 4 else 0)
        lost += named % 4
    assert lost > 0
    assert max(len(os.fsencode(name)) for name in sets.contents()) > 235


@pytest.mark.parametrize("lacking", ["", "link"])
def test_names_as_long_as_can_be_are_replaced(sets, monkeypatch, lacking):
    """What has no room for a longer second name keeps its own, in a folder."""
    lacks(monkeypatch, lacking)
    target = sets.folder / ("ä" * 109 + ".safetensors")
    choice = Choice(("",), format="safetensors", max_shard_size=5000)

    def export(source):
        with ckpt_viewer.open_checkpoint(source) as checkpoint:
            write(plan_export(checkpoint, choice), target, verify=False, force=True)

    def prepare():
        sets.empty()
        export(sets.one)

    prepare()
    old = sets.contents()
    export(sets.other)
    new = sets.contents()
    assert new.keys() == old.keys()
    assert new != old
    outcomes = set()
    for step in killed_at_each(lambda: export(sets.other), prepare):
        assert remove_leftovers(find_leftovers(sets.folder)) is not None
        assert find_leftovers(sets.folder) == []
        assert sets.contents() in (old, new), step
        outcomes.add(sets.contents() == new)
    assert outcomes == {False, True}
