"""Checksums of distributed checkpoints, in which each part is an archive with some of its own."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp

from ckpt_viewer.analysis.checksums import verify_checksums
from ckpt_viewer.core.progress import SILENT
from ckpt_viewer.errors import Cancelled, SourceChanged
from ckpt_viewer.formats import open_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

MARK = [1.25, -2.5, 3.75, 8.125]


@pytest.fixture
def folder(tmp_path) -> Path:
    state = {"model": {"w": torch.tensor(MARK), "b": torch.ones(3)}, "words": {"note": "what was said of this run"}}
    dcp.save(state, storage_writer=dcp.FileSystemWriter(tmp_path / "saved"), no_dist=True)
    return tmp_path / "saved"


def data_of(folder: Path) -> Path:
    (found,) = folder.glob("*.distcp")
    return found


def edit(file: Path, old: bytes, new: bytes) -> None:
    raw = file.read_bytes()
    assert raw.count(old) == 1
    file.write_bytes(raw.replace(old, new))


def found(folder: Path, context=SILENT):
    with open_checkpoint(folder) as checkpoint:
        return verify_checksums(checkpoint, context)


def records_of(folder: Path) -> int:
    """Count them with zipfile: every part begins with a local header of its data.pkl."""
    raw, count = data_of(folder).read_bytes(), 0
    starts = [at for at in range(len(raw)) if raw[at : at + 4] == b"PK\3\4" and b"/data.pkl" in raw[at + 30 : at + 99]]
    for start, end in zip(starts, [*starts[1:], len(raw)], strict=True):
        part = folder / "part.zip"
        part.write_bytes(raw[start:end])
        with zipfile.ZipFile(part) as archive:
            count += len(archive.namelist())
        part.unlink()
    return count


def test_all_parts_are_as_they_were_written(folder):
    (finding,) = found(folder)
    assert (finding.severity, finding.code) == ("info", "crc-ok")
    assert finding.message.startswith(f"all {records_of(folder)} records (")


def test_a_part_that_differs_names_its_tensor(folder):
    good = torch.tensor(MARK).numpy().tobytes()
    edit(data_of(folder), good, good[:-1] + b"\xff")
    (finding,) = found(folder)
    assert (finding.severity, finding.code, finding.path) == ("error", "crc-mismatch", ("model", "w"))
    assert f"of '{data_of(folder).name}' does not match its checksum" in finding.message
    assert finding.message.endswith("so these values may be wrong: /model/w; copy or download it again")


def test_an_object_that_differs_is_found_too(folder):
    edit(data_of(folder), b"was said of", b"was SAID of")
    (finding,) = found(folder)
    assert (finding.code, finding.path) == ("crc-mismatch", ())
    assert "/data.pkl' of the part at byte" in finding.message


def test_a_part_without_its_directory_cannot_be_read(folder):
    file = data_of(folder)
    raw = bytearray(file.read_bytes())
    at = raw.index(b"PK\5\6")  # of the first part
    raw[at : at + 4] = b"\0\0\0\0"
    file.write_bytes(raw)
    (finding,) = [each for each in found(folder) if each.severity == "error"]
    assert finding.code == "record-unreadable"
    assert "cannot be read: the zip directory at the end is missing" in finding.message


def test_what_is_not_there_is_not_compared(folder):
    data_of(folder).unlink()
    (finding,) = found(folder)
    assert finding.code == "crc-absent"


def test_parts_in_safetensors_files_have_none(tmp_path):
    writer = dcp.HuggingFaceStorageWriter(str(tmp_path / "saved"))
    dcp.save({"w": torch.ones(3)}, storage_writer=writer, no_dist=True)
    (finding,) = found(tmp_path / "saved")
    assert (finding.code, "so nothing can be verified" in finding.message) == ("crc-absent", True)


def test_it_reports_bytes_can_be_cancelled_and_tells_a_change(folder):
    class Steps(list):
        def step(self, done, total):
            self.append((done, total))
            if len(self) == stop:
                raise Cancelled

    stop, steps = -1, Steps()
    found(folder, steps)
    known = [done for done, total in steps if total]
    assert known == sorted(known)
    assert 0 < known[-1] <= steps[-1][1]
    stop = len(steps) - 1
    with pytest.raises(Cancelled):
        found(folder, Steps())
    with open_checkpoint(folder) as checkpoint:
        data_of(folder).write_bytes(b"PK\3\4" + bytes(9999))
        with pytest.raises(SourceChanged):
            verify_checksums(checkpoint, SILENT)
