"""A window offers to remove what writers that were killed left."""

from __future__ import annotations

import os

import builders
import pytest

from ckpt_viewer.export.part_names import member_name, new_token, second_name, temporary_name, token_of
from ckpt_viewer.gui.leftovers import Leftovers
from ckpt_viewer.gui.messages import Message, Messages
from ckpt_viewer.gui.session import Session

pytestmark = pytest.mark.skipif(os.name != "posix", reason="nothing is called a leftover there")
LONG = 30_000


@pytest.fixture
def look(qtbot, tmp_path):
    session, messages = Session(), Messages()
    leftovers = Leftovers(session, messages, session)

    def settled():
        qtbot.waitUntil(lambda: not session.jobs.active, timeout=LONG)
        return [(message.severity, message.text) for message in messages.all]

    def look(press: str = ""):
        if press:
            (action,) = [each for each in messages.all[0].actions if each.text == press]
            action.call()
        else:
            leftovers.look_beside(str(tmp_path / "out.pth"))
        return settled()

    yield look
    session.close()


def test_nothing_is_said_where_nothing_is(look, tmp_path):
    (tmp_path / "x.pth").write_bytes(builders.floats(1, 2))
    assert look() == []


def test_what_is_left_is_removed_by_a_button(look, tmp_path):
    for name in ("a.pth", "b.pth"):
        temporary_name(tmp_path / name).write_bytes(bytes(1_000_000))
    said = look()
    assert said == [
        ("warning", f"2 unfinished files (2 MB) lie in {tmp_path}, left by writing that was broken off.")
    ]  # fmt: skip
    assert look() == said  # not a second time
    assert look("Remove") == [("info", "Cleared 2 unfinished files (2 MB).")]
    assert list(tmp_path.iterdir()) == []


def test_what_a_set_was_to_replace_comes_back(look, tmp_path):
    part = temporary_name(tmp_path / "m.index.json")
    part.write_bytes(bytes(1_000_000))
    for name in ("m.index.json", "m-00001-of-00001.safetensors"):
        second_name(tmp_path / name, token_of(part.name)).write_bytes(b"old")
    ((_, text),) = look()
    assert text.startswith("1 unfinished file (1 MB), 2 files that a set was to replace lie in ")
    assert text.endswith(" What was not replaced is put back then.")
    (said,) = look("Remove")
    assert said == ("info", "Cleared 1 unfinished file (1 MB), 2 files that a set was to replace.")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "m.index.json": b"old",
        "m-00001-of-00001.safetensors": b"old",
    }


def test_files_of_a_set_that_has_no_index_lose_their_names(look, tmp_path):
    token = new_token()
    member_name(tmp_path / "m.index.json", token, final=True).write_bytes(bytes(500_000))
    shard = member_name(tmp_path / "m-1.safetensors", token, final=False)
    shard.write_bytes(bytes(500_000))
    os.link(shard, tmp_path / "m-1.safetensors")
    ((_, text),) = look()
    assert text.startswith(f"2 unfinished files (1 MB, 1 of them under its final name) lie in {tmp_path}, ")
    assert look("Remove") == [("info", "Cleared 2 unfinished files (1 MB, 1 of them under its final name).")]
    assert list(tmp_path.iterdir()) == []


def test_what_is_gone_meanwhile_is_said(look, tmp_path):
    path = temporary_name(tmp_path / "a.pth")
    path.write_bytes(b"half")
    look()
    path.unlink()
    assert look("Remove") == [("info", "They were gone already, or could not be removed.")]


def test_what_was_written_is_said_first(qtbot, tmp_path):
    session, messages = Session(), Messages()
    temporary_name(tmp_path / "a.pth").write_bytes(bytes(1_000_000))
    messages.post(Message("info", "before"))
    messages.post(Message("success", "wrote it"))
    with qtbot.waitSignal(messages.posted, timeout=LONG):
        Leftovers(session, messages, session).look_beside(str(tmp_path / "out.pth"))
    assert [message.text[:8] for message in messages.all] == ["wrote it", "1 unfini", "before"]
    session.close()
