"""Verify checksums in a window: a job, and a message that says what came of it."""

from __future__ import annotations

import pytest
from builders import floats, integer, mapped, pickled, tensor, text, zip_checkpoint

from ckpt_viewer.gui.jobs import Job
from ckpt_viewer.gui.messages import Messages
from ckpt_viewer.gui.session import Session
from ckpt_viewer.gui.verify_flow import VerifyFlow

LONG = 30_000
DATA = {"0": floats(1, 2, 3, 4)}
WHOLE = zip_checkpoint(pickled(mapped((text("w"), tensor()), (text("epoch"), integer(3)))), DATA)
BROKEN = WHOLE.replace(DATA["0"], floats(1, 2, 3, 5))


class Desk:
    """A session with an open file and the flow over it."""

    def __init__(self, qtbot, path):
        self.qtbot, self.session, self.messages = qtbot, Session(), Messages()
        self.flow = VerifyFlow(self.session, self.messages, self.session)
        self.jobs: list[Job] = []
        with qtbot.waitSignal(self.session.selectionChanged, timeout=LONG):
            self.session.open(str(path))
        self.session.jobs.started.connect(self.jobs.append)

    def verify(self):
        self.flow.verify()
        self.qtbot.waitUntil(lambda: not self.session.jobs.active, timeout=LONG)
        return [(message.severity, message.text) for message in self.messages.all]


@pytest.fixture
def desk(qtbot, tmp_path):
    made = []

    def make(data: bytes) -> Desk:
        path = tmp_path / "m.pth"
        path.write_bytes(data)
        made.append(Desk(qtbot, path))
        return made[-1]

    yield make
    for each in made:
        each.session.close()


def test_a_whole_file_matches(desk):
    said = desk(WHOLE).verify()
    assert [severity for severity, _ in said] == ["success"]
    assert said[0][1].startswith("All 4 records")


def test_a_broken_one_names_the_record_and_leads_to_its_tensor(desk):
    made = desk(BROKEN)
    ((severity, sentence),) = made.verify()
    assert severity == "error"
    assert "'archive/data/0'" in sentence
    assert "/w" in sentence
    (action,) = made.messages.all[0].actions
    action.call()
    assert made.session.selected.pointer == "/w"


def test_a_file_without_checksums_says_so(desk):
    said = desk(zip_checkpoint(pickled(tensor()), DATA, crc=False)).verify()
    assert said == [("info", "The archive states no checksums, so nothing can be verified.")]


def test_it_shows_in_the_status_bar_and_can_be_stopped(desk):
    made = desk(WHOLE)
    made.session.jobs.started.connect(lambda job: job.cancel())
    said = made.verify()
    assert [job.title for job in made.jobs] == ["Verifying checksums"]
    assert said == [("info", "Verifying the checksums was stopped.")]


def test_asked_twice_it_answers_once(desk):
    made = desk(WHOLE)
    made.verify()
    assert len(made.verify()) == 1
