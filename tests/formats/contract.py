"""What every container format has to keep. A test class inherits `FormatContract` and says how its file is made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import pytest
from opening import look_at_all, open_and_look, open_bytes, read_all

from ckpt_viewer.errors import Cancelled, CheckpointError
from ckpt_viewer.formats import FORMATS, detect, open_checkpoint
from ckpt_viewer.sources import MemorySource

VALUES = [0.5, -1.5, 2.0, 1e30]


def descriptors(path: Path) -> int:
    """How often this process has a file open."""
    count = 0
    for each in Path("/proc/self/fd").iterdir():
        try:
            count += each.readlink() == path
        except FileNotFoundError:  # the listing's own
            continue
    return count


class FormatContract:
    """Inherited by one test class for each format.

    Attributes:
        name: what the format calls itself.
        entries: path -> value of everything in `file`; None for containers and tensors.
        location: the device tag of its tensors; None where the container knows none.
    """

    name: str
    entries: ClassVar[dict[tuple[str, ...], object]] = {(): None, ("weight",): None, ("epoch",): 3}
    location: str | None = "cpu"

    def file(self) -> bytes:
        """Return a small file: ``{"weight": four float32 numbers (VALUES), "epoch": 3}``, as far as the format can."""
        raise NotImplementedError

    def weight(self) -> tuple[str, ...]:
        """Return the path of the tensor."""
        return next(path for path in self.entries if path[-1:] == ("weight",))

    def test_it_is_recognised_by_content(self):
        assert detect(MemorySource(self.file())).name == self.name

    def test_only_one_format_says_yes_first(self):
        assert [each.name for each in FORMATS].count(self.name) == 1

    @pytest.mark.parametrize("file_name", ["model.pth", "model.txt", "no suffix", "a.b.pth.tar", ".hidden"])
    def test_the_file_name_does_not_matter(self, tmp_path, file_name):
        path = tmp_path / file_name
        path.write_bytes(self.file())
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.format == self.name
            assert checkpoint.path == str(path)
            assert checkpoint.size == len(self.file())

    def test_it_lists_every_entry(self):
        outline = open_bytes(self.file()).outline
        assert [outline.path(row) for row in range(len(outline))] == list(self.entries)
        values = zip(outline.values, self.entries.values(), strict=True)
        assert all(found == value for found, value in values if value is not None)

    def test_a_tensor_has_its_bytes(self, tmp_path):
        path = tmp_path / "model.pth"
        path.write_bytes(self.file())
        with open_checkpoint(path) as checkpoint:
            weight = checkpoint.node(self.weight())
            assert (weight.shape, weight.dtype, weight.stride, weight.location) == (
                (4,),
                "float32",
                (1,),
                self.location,
            )
            import numpy

            assert weight.numpy(copy=True).tolist() == numpy.float32(VALUES).tolist()
            assert weight.numpy().tolist() == numpy.float32(VALUES).tolist()

    def test_closing_gives_the_file_back(self, tmp_path):
        path = tmp_path / "model.pth"
        path.write_bytes(self.file())
        checkpoint = open_checkpoint(path)
        assert descriptors(path) == 1
        checkpoint.close()
        checkpoint.close()
        assert descriptors(path) == 0
        assert [node.path for node in checkpoint.root.children] == [path for path in self.entries if len(path) == 1]

    def test_a_refused_file_is_given_back_too(self, tmp_path):
        path = tmp_path / "cut.pth"
        path.write_bytes(self.file()[:-1])
        with pytest.raises(CheckpointError):
            open_checkpoint(path)
        assert descriptors(path) == 0

    def test_a_cancelled_opening_gives_the_file_back(self, tmp_path):
        class Stop:
            def step(self, done, total):
                raise Cancelled

        path = tmp_path / "long.pth"
        path.write_bytes(self.long_file())
        with pytest.raises(Cancelled):
            open_checkpoint(path, context=Stop())
        assert descriptors(path) == 0

    def long_file(self) -> bytes:
        """Return a file whose pickle has hundreds of opcodes."""
        raise NotImplementedError

    def test_opening_reports_progress(self, tmp_path):
        class Steps(list):
            def step(self, done, total):
                self.append((done, total))

        steps = Steps()
        path = tmp_path / "long.pth"
        path.write_bytes(self.long_file())
        open_checkpoint(path, context=steps).close()
        assert len(steps) > 5
        assert all(0 <= done <= total or total == 0 for done, total in steps)
        known = [done / total for done, total in steps if total]
        assert known == sorted(known)
        assert known[-1] > 0.9

    def test_every_beginning_of_the_file_is_refused_in_a_sentence(self):
        data = self.file()
        for length in range(len(data)):
            with pytest.raises(CheckpointError) as refused:
                open_bytes(data[:length])
            assert str(refused.value)
            assert "\n" not in str(refused.value)

    def test_bytes_behind_the_file_are_noticed_or_refused(self):
        try:
            checkpoint = open_bytes(self.file() + b"garbage behind")
        except CheckpointError:
            return
        assert "trailing-bytes" in {finding.code for finding in checkpoint.findings}

    @pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
    def test_any_single_damaged_byte_is_refused_or_shown(self, mask):
        data = bytearray(self.file())
        for position in range(len(data)):
            data[position] ^= mask
            open_and_look(bytes(data))
            data[position] ^= mask

    def test_it_can_be_looked_at_in_every_way(self):
        checkpoint = open_bytes(self.file())
        assert look_at_all(checkpoint) > 100
        assert read_all(checkpoint) == 1

    def test_other_formats_do_not_take_it(self):
        first = next(each for each in FORMATS if each.name == self.name)
        for other in FORMATS[: FORMATS.index(first)]:
            with pytest.raises(CheckpointError):
                open_with(other, self.file())


def open_with(format_, data: bytes):
    from ckpt_viewer.core.progress import SILENT

    if not format_.matches(_head(data)):
        raise CheckpointError(f"{os.fspath(format_.name)} does not match")
    return format_.open(MemorySource(data), SILENT)


def _head(data: bytes):
    from ckpt_viewer.formats.base import Head

    return Head(MemorySource(data))
