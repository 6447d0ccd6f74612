"""Pickles that torch.load does not read: behind the first, behind the storages, beside data.pkl. FORMATS H2."""

from __future__ import annotations

import pytest
from builders import (
    call,
    floats,
    legacy_stream,
    mapped,
    name,
    pickled,
    tensor,
    text,
    zip_checkpoint,
)
from opening import memory, open_bytes, within

from ckpt_viewer.errors import Damaged
from ckpt_viewer.formats import behind

EVIL = call(name("os", "system"), text("true"))
FOUR = {"0": floats(1, 2, 3, 4)}
GOOD = mapped((text("epoch"), b"K\3"))


def raw(tail: bytes) -> bytes:
    return pickled(GOOD) + tail


def in_zip(tail: bytes) -> bytes:
    return zip_checkpoint(pickled(tensor()) + tail, FOUR)


def deflated(tail: bytes) -> bytes:
    return zip_checkpoint(pickled(tensor()) + tail, FOUR, deflate=("data.pkl",))


def legacy(tail: bytes) -> bytes:
    return legacy_stream(pickled(tensor(legacy=True)), FOUR) + tail


def beside(tail: bytes) -> bytes:
    return zip_checkpoint(pickled(tensor()), FOUR, extra={"other.pkl": pickled(GOOD) + tail})


def storage_like(tail: bytes) -> bytes:
    """Under the name of a storage that nobody uses."""
    return zip_checkpoint(pickled(tensor()), FOUR, extra={"data/9.pkl": pickled(GOOD) + tail})


def unsuspicious(tail: bytes) -> bytes:
    """Without a suffix: what it is shows in its first bytes."""
    return zip_checkpoint(pickled(tensor()), FOUR, extra={"notes": pickled(GOOD) + tail})


PLACES = [raw, in_zip, deflated, legacy, beside, storage_like, unsuspicious]


def of(checkpoint, code: str = "extra-pickle") -> list:
    return [finding for finding in checkpoint.findings if finding.code == code]


def status(checkpoint) -> dict[str, str]:
    return {use.name: use.status for use in checkpoint.contents.globals}


@pytest.mark.parametrize("place", PLACES)
def test_a_second_pickle_is_looked_into(place):
    checkpoint = open_bytes(place(pickled(EVIL)))
    assert status(checkpoint)["os.system"] == "dangerous"
    assert [finding.severity for finding in of(checkpoint) if "os.system" in finding.message] == ["error"]


@pytest.mark.parametrize("place", PLACES)
def test_one_that_breaks_off_counts_with_what_it_named_before(place):
    checkpoint = open_bytes(place(b"\x80\x02" + EVIL + b"\xff"))
    assert status(checkpoint)["os.system"] == "dangerous"
    assert any("breaks off" in finding.message for finding in of(checkpoint))


@pytest.mark.parametrize("place", PLACES)
def test_text_protocol_too(place):
    assert status(open_bytes(place(b"cos\nsystem\n(S'true'\ntR.")))["os.system"] == "dangerous"


@pytest.mark.parametrize("place", PLACES)
def test_the_tenth_pickle_as_well_as_the_second(place):
    checkpoint = open_bytes(place(pickled(GOOD) * 9 + pickled(EVIL)))
    assert status(checkpoint)["os.system"] == "dangerous"
    assert len(of(checkpoint)) <= behind.TOLD + 2


def test_a_harmless_second_pickle_is_told_of_with_what_it_holds():
    (finding,) = of(open_bytes(raw(pickled(text("a note")))))
    assert finding.severity == "warning"
    assert "'a note'" in finding.message
    assert f"at byte {len(raw(b''))}" in finding.message


def test_bytes_that_are_no_pickle_are_only_bytes():
    checkpoint = open_bytes(raw(bytes(100)))
    assert [finding.code for finding in checkpoint.findings] == ["trailing-bytes"]


def test_a_second_legacy_stream_is_looked_into():
    checkpoint = open_bytes(legacy(legacy_stream(pickled(EVIL))))
    assert status(checkpoint)["os.system"] == "dangerous"


@pytest.mark.parametrize("place", [raw, legacy])
def test_an_archive_behind_it_makes_it_two_things(place):
    """FORMATS H6: torch reads the pickle, whoever looks for a zip reads that."""
    with pytest.raises(Damaged, match="two things at once") as refused:
        open_bytes(place(zip_checkpoint(pickled(tensor()), FOUR)))
    assert refused.value.code == "polyglot"


def test_a_zip_as_a_value_is_no_second_thing():
    blob = zip_checkpoint(pickled(b"N"))
    checkpoint = open_bytes(pickled(mapped((text("blob"), b"B" + len(blob).to_bytes(4, "little") + blob)), 3))
    assert checkpoint.findings == ()


def test_millions_of_pickles_are_not_all_read():
    with within(20), memory() as peak:
        checkpoint = open_bytes(raw(b"N." * 1_000_000))
    assert any("more pickles follow" in finding.message for finding in of(checkpoint))
    assert peak.nbytes < 10_000_000


def test_pickles_behind_each_other_share_one_budget():
    costly = pickled(b"N0" * 400_000)
    with within(30):
        checkpoint = open_bytes(raw(costly * 40))
    assert len(of(checkpoint)) <= behind.TOLD + 1
