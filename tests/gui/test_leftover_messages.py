"""A window offers to remove what writers that were killed left."""

from __future__ import annotations

import os

import builders
import pytest

from ckpt_viewer.export.leftovers import temporary_name
from ckpt_viewer.gui.leftovers import Leftovers
from ckpt_viewer.gui.messages import Messages
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
        ("warning", f"2 unfinished files (2 MB) from writing that was broken off lie in {tmp_path}.")
    ]  # fmt: skip
    assert look() == said  # not a second time
    assert look("Remove") == [("info", "Removed 2 unfinished files (2 MB).")]
    assert list(tmp_path.iterdir()) == []


def test_what_is_gone_meanwhile_is_said(look, tmp_path):
    path = temporary_name(tmp_path / "a.pth")
    path.write_bytes(b"half")
    look()
    path.unlink()
    assert look("Remove") == [("info", "They were gone already, or could not be removed.")]
