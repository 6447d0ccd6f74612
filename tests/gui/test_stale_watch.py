"""A file that another program writes anew while it is open is noticed when the user comes back to the window."""

from __future__ import annotations

import pytest
from builders import floats, integer, mapped, pickled, tensor, text, zip_checkpoint
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication

from ckpt_viewer.gui.messages import Messages
from ckpt_viewer.gui.session import Session
from ckpt_viewer.gui.stale_watch import StaleWatch, what_became_of
from ckpt_viewer.sources import identity_of


def checkpoint_of(epoch):
    pickle = pickled(mapped((text("w"), tensor()), (text("epoch"), integer(epoch))))
    return zip_checkpoint(pickle, {"0": floats(1, 2, 3, 4)})


class Desk:
    """A session with an open file, and the watch over it."""

    def __init__(self, qtbot, path):
        self.qtbot, self.session, self.messages = qtbot, Session(), Messages()
        self.watch = StaleWatch(self.session, self.messages, self.session)
        self.wait(lambda: self.session.open(str(path)))

    def wait(self, call):
        with self.qtbot.waitSignal(self.session.opened):
            call()

    def come_back(self):
        """The user comes back from another program; return what the messages say."""
        QGuiApplication.instance().applicationStateChanged.emit(Qt.ApplicationState.ApplicationActive)
        self.qtbot.waitUntil(lambda: not self.session.jobs.active)
        return [message.text for message in self.messages.all]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "last.pth"
    path.write_bytes(checkpoint_of(3))
    return path


@pytest.fixture
def desk(qtbot, path):
    made = Desk(qtbot, path)
    yield made
    made.session.close()


def test_a_file_that_is_as_it_was_is_not_spoken_of(desk, path):
    path.chmod(0o600)
    assert desk.come_back() == []


def test_a_newer_file_is_noticed_once_and_read_at_the_press_of_a_button(desk, path):
    newer = path.with_suffix(".new")
    newer.write_bytes(checkpoint_of(4))
    newer.replace(path)
    assert "a newer file in place" in desk.come_back()[0]
    [message] = desk.messages.all
    desk.messages.dismiss(message)
    assert desk.come_back() == []
    [action] = message.actions
    assert action.text == "Reload"
    desk.wait(action.call)
    assert desk.session.checkpoint["/epoch"].value == 4
    assert desk.come_back() == []


def test_a_file_that_is_written_to_is_noticed(desk, path):
    with path.open("ab") as file:
        file.write(b"more")
    assert "has changed this file" in desk.come_back()[0]
    desk.wait(desk.session.reload)
    assert desk.messages.all == ()


def test_a_file_that_is_gone_and_comes_back(desk, path):
    away = path.rename(path.with_suffix(".away"))
    assert "was removed or renamed" in desk.come_back()[0]
    assert desk.messages.all[0].actions == ()
    away.rename(path)
    assert desk.come_back() == []


def test_a_change_is_noticed_while_the_user_looks_on(qtbot, desk, path):
    for round in ("written to", "written to after a reload"):
        with qtbot.waitSignal(desk.messages.posted), path.open("ab") as file:
            file.write(round.encode())
        [message] = desk.messages.all
        assert "has changed this file" in message.text
        desk.wait(desk.session.reload)
        assert desk.messages.all == ()


def test_a_newer_file_is_noticed_while_the_user_looks_on(qtbot, desk, path):
    newer = path.with_suffix(".new")
    newer.write_bytes(checkpoint_of(4))
    with qtbot.waitSignal(desk.messages.posted):
        newer.replace(path)
    assert "a newer file in place" in desk.messages.all[0].text


def test_nothing_is_said_beside_the_page_of_a_file_that_fails(qtbot, desk, path):
    with qtbot.waitSignal(desk.messages.posted):
        path.write_bytes(checkpoint_of(4)[:100])
    with qtbot.waitSignal(desk.session.failed):
        desk.session.reload()
    assert desk.messages.all == ()


def test_what_cannot_be_asked_is_not_guessed(tmp_path, path):
    identity = identity_of(path.stat())
    assert what_became_of(str(path), identity) == ""
    assert what_became_of(str(path / "inside"), identity) == ""
