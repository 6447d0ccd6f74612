"""Checksums on demand, and the command that reports them."""

from __future__ import annotations

import json
import struct
import zlib

import pytest
from builders import (
    floats,
    integer,
    legacy_stream,
    listed,
    mapped,
    pickled,
    storage,
    tensor,
    text,
    zip_checkpoint,
    zip_file,
)
from opening import memory, open_bytes

from ckpt_viewer.analysis.check import CHECKS, check
from ckpt_viewer.analysis.checksums import verify_checksums, verify_headers
from ckpt_viewer.cli import main
from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.errors import Cancelled
from ckpt_viewer.formats import open_checkpoint

HELD = storage("0", 4)
BODY = pickled(
    mapped(
        (text("a"), tensor((2,), of=HELD)),
        (text("b"), tensor((2,), offset=2, of=HELD)),
        (text("c"), tensor(key="1")),
        (text("epoch"), integer(3)),
    )
)
DATA = {"0": floats(1, 2, 3, 4), "1": floats(5, 6, 7, 8)}
DEFLATE = ("data.pkl", "data/1")


def whole(**layout) -> bytes:
    return zip_checkpoint(BODY, DATA, **layout)


def broken(data: bytes, *, key: str = "0") -> bytes:
    """Flip a bit of a stored storage."""
    out = bytearray(data)
    out[data.index(DATA[key]) + 3] ^= 0x40
    return bytes(out)


def codes(data: bytes) -> list[tuple[str, str, tuple[object, ...]]]:
    return [(each.severity, each.code, each.path) for each in verify_checksums(open_bytes(data), SILENT)]


@pytest.mark.parametrize("deflate", [(), DEFLATE])
def test_a_file_that_is_as_it_was_written(deflate):
    (finding,) = verify_checksums(open_bytes(whole(deflate=deflate)), SILENT)
    assert (finding.severity, finding.code) == ("info", "crc-ok")
    assert "all 5 records" in finding.message


def test_a_storage_that_differs_names_the_tensors_that_use_it():
    (finding,) = verify_checksums(open_bytes(broken(whole())), SILENT)
    assert (finding.severity, finding.code, finding.path) == ("error", "crc-mismatch", ("a",))
    stated = zlib.crc32(DATA["0"])
    assert f"'archive/data/0' does not match its checksum ({stated:08x} stated" in finding.message
    assert "may be wrong: /a, /b;" in finding.message


def test_a_pickle_that_differs_is_named_too():
    data = bytearray(whole())
    data[data.index(b"epoch") + 6] ^= 1
    assert codes(bytes(data)) == [("error", "crc-mismatch", ())]


def test_every_record_that_differs_is_a_finding():
    data = broken(broken(whole()), key="1")
    assert codes(data) == [("error", "crc-mismatch", ("a",)), ("error", "crc-mismatch", ("c",))]


def test_a_deflated_record_is_compared_as_what_it_inflates_to():
    data = bytearray(whole(deflate=DEFLATE))
    at = data.rindex(b"archive/data/1") - 46 + 16  # the CRC in the directory
    data[at] ^= 1
    assert codes(bytes(data)) == [("error", "crc-mismatch", ("c",))]


def test_a_deflated_record_that_does_not_inflate_is_told():
    data = bytearray(whole(deflate=("data/1",)))
    name = data.index(b"archive/data/1")
    names, extras = struct.unpack_from("<2H", data, name - 4)
    data[name + names + extras] ^= 0xFF
    (found,) = codes(bytes(data))
    assert found[0] == "error"
    assert found[1] in ("record-unreadable", "crc-mismatch")


@pytest.mark.parametrize(
    ("data", "words"),
    [(whole(crc=False), "states no checksums"),
     (legacy_stream(pickled(tensor(legacy=True)), {"0": floats(1, 2, 3, 4)}), "has no checksums")],
    ids=["zip", "legacy"],
)  # fmt: skip
def test_where_there_are_none_that_is_said(data, words):
    (finding,) = verify_checksums(open_bytes(data), SILENT)
    assert (finding.severity, finding.code) == ("info", "crc-absent")
    assert words in finding.message


@pytest.mark.parametrize(
    ("data", "words"),
    [(whole()[:-40], "was compared with its checksums when it was salvaged"),
     (legacy_stream(pickled(tensor(legacy=True)), {"0": floats(1, 2, 3, 4)})[:-4], "has no checksums")],
    ids=["zip", "legacy"],
)  # fmt: skip
def test_what_was_salvaged_is_not_compared_again(tmp_path, data, words):
    (tmp_path / "cut.pth").write_bytes(data)
    with open_checkpoint(tmp_path / "cut.pth", salvage=True) as checkpoint:
        (finding,) = verify_checksums(checkpoint, SILENT)
    assert (finding.severity, finding.code) == ("info", "crc-absent")
    assert words in finding.message


def test_a_checkpoint_inside_an_ordinary_zip_is_compared_inside_and_outside():
    data = broken(zip_file({"model/model.pth": whole(), "model/readme": b"x"}))
    found = codes(data)
    assert [each[1] for each in found] == ["crc-mismatch", "crc-mismatch"]
    assert ("error", "crc-mismatch", ("model/model.pth", "a")) in found or any(each[2] for each in found)


def large() -> bytes:
    body = pickled(tensor((8 << 20,), numel=8 << 20))
    return zip_checkpoint(body, {"0": bytes(32 << 20)})


def test_it_takes_little_memory_reports_bytes_and_can_be_cancelled():
    class Steps(list):
        def step(self, done, total):
            self.append((done, total))
            if len(self) == 12 and stop:
                raise Cancelled

    stop, checkpoint, steps = False, open_bytes(large()), Steps()
    with memory() as peak:
        verify_checksums(checkpoint, steps)
    assert peak.nbytes < 6 << 20
    known = [done / total for done, total in steps if total > 1 << 20]
    assert known == sorted(known)
    assert known[-1] > 0.9
    stop = True
    with pytest.raises(Cancelled):
        verify_checksums(checkpoint, Steps())


# --- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path, capsys):
    def call(data: bytes, *arguments: str) -> tuple[int, str, str]:
        path = tmp_path / "x.pth"
        path.write_bytes(data)
        code = main(["check", str(path), *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_check_reads_no_data_unless_asked(run):
    code, out, err = run(broken(whole()))
    assert (code, err) == (0, "")
    assert "checksum" not in out


@pytest.mark.parametrize("data", [whole(), broken(whole())], ids=["whole", "broken"])
def test_check_crc_says_so_by_its_exit_code(run, data):
    code, out, err = run(data, "--crc", "--json")
    document = json.loads(out)
    assert {"schema", "resumable", "findings", "load", "globals"} <= set(document)
    assert err == ""
    assert code == any(each["severity"] == "error" for each in document["findings"]) == (data != whole())
    code, out, _ = run(data, "--crc")
    assert ("error: /a: " in out) == (code == 1)
    assert out.rstrip().splitlines()[-1].startswith("cannot be resumed: it holds no model")


def test_a_training_checkpoint_can_be_resumed_unless_it_had_to_be_salvaged(run):
    group = mapped((text("lr"), integer(1)), (text("params"), listed(integer(0), integer(1))))
    optimizer = mapped((text("state"), b"}"), (text("param_groups"), listed(group)))
    model = mapped((text("l.weight"), tensor(key="0")), (text("l.bias"), tensor(key="1")))
    data = zip_checkpoint(pickled(mapped((text("model"), model), (text("optimizer"), optimizer))), DATA)
    code, out, _ = run(data, "--json")
    assert (code, json.loads(out)["resumable"]) == (0, True)
    code, out, _ = run(data[:-100], "--salvage", "--json")
    assert (code, json.loads(out)["resumable"]) == (0, False)
    code, out, _ = run(data[: data.index(DATA["1"])], "--salvage", "--json", "--crc")
    assert code == 1
    assert "tensor-lost" in {each["code"] for each in json.loads(out)["findings"]}


def test_what_a_file_would_run_is_an_error(run):
    code, out, _ = run(zip_checkpoint(pickled(b"cos\nsystem\n(X\x04\0\0\0truetR")))
    assert code == 1
    assert "os.system" in out or "posix.system" in out


def test_where_it_loads(run):
    code, out, _ = run(whole(), "--map-location", "cuda:0", "--json")
    assert code == 0
    load = json.loads(out)["load"]
    assert load["map_location"] == "cuda:0"
    (target,) = load["targets"]
    assert {**target, "location": "cpu", "device": "cuda:0", "bytes": 32} == target


def test_a_file_that_cannot_be_opened_is_no_finding(run):
    code, out, err = run(b"", "--json")
    assert (code, out) == (2, "")
    assert "empty" in err


def test_each_check_is_asked_once():
    assert len(set(CHECKS)) == len(CHECKS)
    assert check(open_bytes(whole())).healthy


class TestHeaders:
    def findings(self, data: bytes) -> list:
        return [finding for finding in check(open_bytes(data), SILENT).findings if finding.code == "local-header"]

    def test_records_that_say_the_same_twice_are_no_finding(self):
        assert self.findings(zip_checkpoint(BODY, DATA)) == []

    def test_a_storages_own_header_with_another_name(self):
        """H3: torch reads what the directory names, other programs refuse or read something else."""
        (finding,) = self.findings(zip_checkpoint(BODY, DATA).replace(b"archive/data/1", b"archive/data/7", 1))
        assert (finding.severity, "archive/data/7" in finding.message) == ("error", True)

    def test_that_of_the_pickle_is_told_once(self):
        data = zip_checkpoint(BODY, DATA).replace(b"archive/data.pkl", b"archive/xxxx.pkl", 1)
        assert len(self.findings(data)) == 1

    def test_a_header_that_is_not_there(self):
        (finding,) = self.findings(
            zip_checkpoint(BODY, DATA).replace(b"PK\3\4", b"XX\3\4", 3).replace(b"XX\3\4", b"PK\3\4", 2)
        )
        assert "cannot be read" in finding.message

    def test_of_many_the_first_are_told(self):
        data = zip_checkpoint(BODY, {**DATA, **{f"x{n}": b"1234" for n in range(80)}})
        at = data.index(b"archive/data/x0")
        found = self.findings(data[:at] + data[at:].replace(b"archive/data/x", b"archive/data/y", 80))
        assert len(found) == 51
        assert found[-1].message.startswith("30 more")

    def test_a_file_without_records_has_none(self):
        assert self.findings(legacy_stream(BODY.replace(b"tQ", b"NtQ"), DATA)) == []

    def test_it_can_be_cancelled(self):
        class Impatient:
            def step(self, done: int, total: int) -> None:
                raise Cancelled

        with pytest.raises(Cancelled):
            verify_headers(open_bytes(zip_checkpoint(BODY, DATA)), Impatient())
