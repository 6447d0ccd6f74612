"""Files dragged from another program over the window and dropped on each half: XDND, with a real source."""

from __future__ import annotations

import itertools
import subprocess

import pytest
import torch
from builders import save
from made_files import make_checkpoint, same, write_checkpoint


@pytest.fixture
def drag(neighbour, hand):
    """Drag something of the neighbour's to a point of the screen; it hangs there until `hand` lets go."""

    def to(x, y, *files, links=(), words=""):
        start_x, start_y = neighbour.ask("drag", [*(file.as_uri() for file in files), *links], words)
        hand.do("mousemove", start_x, start_y, "mousedown", 1)
        for share in (0.05, 0.3, 0.7, 0.95, 1):
            hand.move(round(start_x + (x - start_x) * share), round(start_y + (y - start_y) * share))

    yield to
    hand.do("mouseup", 1)


def drop(neighbour, hand):
    """Let go, and return what the source is told: which action was taken."""
    hand.do("mouseup", 1)
    return neighbour.wait(lambda: neighbour.ask("dropped"), "the drag has ended", lambda ended: ended != "not yet")


def over_half(viewer, hand, name):
    """Move about in the middle of a half until it is marked: a source tells of a move once the last was answered."""
    left, top, width, height = viewer.widget(name)["place"]
    steps = itertools.cycle((0, 1))

    def look():
        hand.move(left + width // 2 + next(steps), top + height // 2)
        return viewer.widget(name)["marked"]

    viewer.becomes(look, True)


def test_the_large_half_opens(start, drag, neighbour, hand, checkpoint_file, home):
    viewer = start()
    viewer.says("startPage", "Open the sample", "Nothing in a file is executed")
    other = write_checkpoint(home / "other.pth", epoch=9)
    drag(500, 400, checkpoint_file)
    viewer.says("dropOpen", "shows run.pth")
    over_half(viewer, hand, "dropOpen")
    assert drop(neighbour, hand) == "CopyAction"
    viewer.says("rootHeading", "epoch 7")
    assert viewer.titles() == ["run.pth"], "an empty window takes the file"
    assert not viewer.is_shown("dropOverlay")
    drag(500, 400, other)
    over_half(viewer, hand, "dropOpen")
    drop(neighbour, hand)
    viewer.says("rootHeading", "epoch 9", window="other.pth")
    assert viewer.titles() == ["other.pth", "run.pth"]
    viewer.focus("run.pth")
    viewer.quit()
    assert sorted(path.name for path in home.glob("*.pth")) == ["other.pth", "run.pth"]


@pytest.mark.parametrize(
    ("legacy", "name", "copy"), [(False, "x.pth", "x.cpu.pth"), (True, "x.pth.tar", "x.cpu.pth.tar")]
)
def test_the_other_half_writes_a_copy_for_the_cpu(start, drag, neighbour, hand, home, legacy, name, copy):
    checkpoint = make_checkpoint()
    file = save(checkpoint, home / name, tag="cuda:1", legacy=legacy)
    with pytest.raises(RuntimeError, match="Attempting to deserialize object on"):
        torch.load(file, weights_only=True)
    viewer = start()
    viewer.widget("startPage")
    drag(900, 400, file)
    promise = viewer.says("dropRemapCpu", f"writes {copy}, ", "beside it")
    over_half(viewer, hand, "dropRemapCpu")
    assert not (home / copy).exists()
    assert drop(neighbour, hand) == "CopyAction"
    viewer.says("messageBar", f"Wrote {copy}", "Delete copy", "Show in folder")
    assert viewer.row("model")["cells"]["Device"] == "cuda:1 → cpu"
    assert "\N{NO-BREAK SPACE}kB" in promise
    assert same(torch.load(home / copy, weights_only=True), checkpoint)
    assert same(torch.load(file, map_location="cpu", weights_only=True), checkpoint), "the source is as it was"
    viewer.click_button("Delete copy", "messageBar")
    viewer.says("messageBar", f"Deleted {copy}")
    assert not (home / copy).exists()
    viewer.focus(name)
    viewer.quit()


@pytest.fixture
def read_only(home):
    """A folder of the user's that nobody can write to, not even root; with a checkpoint in it."""
    folder = home / "archive"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", folder], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    try:
        write_checkpoint(folder / "x.pth")
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_copy_that_cannot_lie_beside_its_file_is_asked_for(start, drag, neighbour, hand, home, read_only):
    viewer = start()
    viewer.widget("startPage")
    drag(900, 400, read_only / "x.pth")
    viewer.says("dropRemapCpu", "and asks where: its folder is read-only")
    over_half(viewer, hand, "dropRemapCpu")
    drop(neighbour, hand)
    viewer.answer_dialog("its folder is read-only", str(home / "here.cpu.pth"))
    viewer.focus("x.pth")
    viewer.says("messageBar", "Wrote here.cpu.pth")
    assert same(torch.load(home / "here.cpu.pth", weights_only=True), make_checkpoint())
    assert [path.name for path in read_only.iterdir()] == ["x.pth"]
    viewer.quit()


def test_text_and_links_are_refused(open_viewer, drag, neighbour, hand, checkpoint_file):
    viewer = open_viewer(checkpoint_file)
    offers = [{"words": "/etc/hostname"}, {"links": ["https://example.org/x.pth"]}]
    for offer in offers:
        drag(500, 400, **offer)
        assert drop(neighbour, hand) == "IgnoreAction", offer
        assert not viewer.is_shown("dropOverlay")
    assert viewer.titles() == ["run.pth"]
    assert viewer.widget("treeFilter")["text"] == ""
    viewer.focus("run.pth")
    viewer.quit()


def test_a_drag_that_leaves_uncovers_the_window(open_viewer, drag, neighbour, hand, checkpoint_file):
    viewer = open_viewer(checkpoint_file)
    drag(300, 115, checkpoint_file)  # over the filter, which as a line edit would take the drop for itself
    viewer.says("dropOpen", "shows run.pth")
    hand.move(1300, 400)
    viewer.becomes(lambda: viewer.is_shown("dropOverlay"), False)
    assert drop(neighbour, hand) == "IgnoreAction"
    viewer.focus("run.pth")
    viewer.quit()
