"""FORMATS section 8, hazard by hazard: what must not be believed, the check, and what it is called.

Attacks by what a pickle names are in `test_attacks`, by what it costs in `test_budgets`, safetensors' own in
`test_safetensors`; here is at least one test of each hazard, under its number.
"""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile

import pytest
from archives import package, tar_file
from builders import (
    HOOKS,
    call,
    floats,
    get,
    integer,
    legacy_stream,
    listed,
    many,
    mapped,
    name,
    pickled,
    put,
    storage,
    tensor,
    text,
    zip_checkpoint,
    zip_file,
)
from opening import look_at_all, memory, open_bytes, within
from payloads import PAYLOADS, containers

from ckpt_viewer.analysis.safety import verdict
from ckpt_viewer.analysis.tree_text import tree_lines
from ckpt_viewer.errors import CheckpointError, Damaged, OverBudget, SourceChanged, Truncated, Unreadable, Unsupported
from ckpt_viewer.formats import detect, open_checkpoint
from ckpt_viewer.formats.zip_checks import check_all_local
from ckpt_viewer.formats.zip_directory import ZipDirectory
from ckpt_viewer.sources import MemorySource

ONE, TWO = {"0": floats(1, 1, 1, 1)}, {"0": floats(2, 2, 2, 2)}
WEIGHT = pickled(tensor())
SYSTEM = call(name("os", "system"), text("true"))


def codes(data: bytes) -> dict[str, str]:
    """The findings of a file: code -> severity."""
    return {finding.code: finding.severity for finding in open_bytes(data).findings}


def refused(data: bytes) -> str:
    """The code under which a file is refused."""
    with pytest.raises(CheckpointError) as error:
        open_bytes(data)
    return error.value.code


def edited(data: bytes, entry: bytes, field: int, form: str, *values: int, local: bool = False) -> bytes:
    """Change fields in the directory's entry of a record, or in the record's own header."""
    made = bytearray(data)
    directory = data.index(b"PK\1\2")
    at = data.index(entry) - 30 if local else data.index(entry, directory) - 46
    assert data[at : at + 2] == b"PK"
    struct.pack_into(form, made, at + field, *values)
    return bytes(made)


def with_extra(record: str, data: bytes = b"x") -> bytes:
    records = {"a/data.pkl": WEIGHT, "a/data/0": ONE["0"], "a/version": b"3\n", record: data}
    return zip_file(records)


class TestH1NothingRuns:
    @pytest.mark.parametrize("kind", ["raw", "zip", "legacy"])
    @pytest.mark.parametrize("title", PAYLOADS)
    def test_every_name_is_listed_and_nothing_happens(self, tmp_path, title, kind):
        protocol, dangerous, payload = PAYLOADS[title]
        canary = tmp_path / "canary"
        checkpoint = open_bytes(containers(pickled(payload(str(canary)), protocol))[kind])
        look_at_all(checkpoint)
        assert {use.name: use.status for use in checkpoint.contents.globals}[dangerous] == "dangerous"
        assert not canary.exists()


class TestH2ScannersSeeTheSame:
    def test_the_names_of_the_tree_and_of_the_list_are_one_reading(self):
        """A name under a memo slot that was overwritten: whoever resolves slots otherwise sees another."""
        body = text("system") + put(0) + b"0" + text("path") + put(0) + b"0" + text("os") + get(0) + b"\x93)R"
        checkpoint = open_bytes(zip_checkpoint(pickled(body, 4)))
        assert [use.name for use in checkpoint.contents.globals] == ["os.path"]
        assert checkpoint.root.type == "os.path"

    def test_a_magic_number_that_is_computed_makes_no_legacy_stream(self):
        computed = call(name("builtins", "int"), integer(0x1950A86A20F9469CFC6C))
        assert open_bytes(legacy_stream(WEIGHT, ONE, magic=computed)).format == "pickle"

    @pytest.mark.parametrize(
        "data",
        [
            tar_file({"sys_info": pickled(SYSTEM), "pickle": pickled(b"N"), "storages": pickled(integer(0))}),
            tar_file({"pickle": pickled(b"N"), "storages": pickled(integer(0)), "more": pickled(SYSTEM)}),
            package({"a/a.pkl": pickled(b"N"), "a/b.pickle": pickled(SYSTEM)}, {}),
            package({"a/a.pkl": pickled(b"N"), "a/b.dat": pickled(SYSTEM)}, {}),
        ],
        ids=["sys_info", "member", "pickle", "data"],
    )
    def test_a_pickle_beside_those_that_are_read(self, data):
        assert codes(data)["extra-pickle"] == "error"
        assert {use.name: use.status for use in open_bytes(data).contents.globals}["os.system"] == "dangerous"

    @pytest.mark.parametrize("tail", [pickled(SYSTEM), b"\x80\x02" + SYSTEM + b"\xff", b"cos\nsystem\n(S'x'\ntR."])
    def test_a_payload_behind_the_first_pickle(self, tail):
        assert codes(pickled(b"N") + tail)["extra-pickle"] == "error"


class TestH3Names:
    @pytest.mark.parametrize("record", ["/etc/passwd", "a/../../etc/passwd", "a\\..\\x", "a//x", "../x", "a/./x"])
    def test_a_name_that_leads_out_of_the_folder(self, record):
        assert codes(with_extra(record))["record-path"] == "error"

    @pytest.mark.parametrize(
        "record", ["a/x\0y", "a/x\ny", "a/x\ry", "a/\u202egnp.x", "a/x\x1b[2J", "a/\u200bdata.pkl"]
    )
    def test_a_name_with_what_is_not_seen(self, record):
        assert codes(with_extra(record))["record-name"] == "warning"
        for line in tree_lines(open_bytes(with_extra(record))):
            assert not set(line) & set("\0\r\x1b\u202e\u200b")

    def test_a_name_that_is_no_utf8(self):
        assert codes(with_extra("a/xyz").replace(b"a/xyz", b"a/\xff\xfe\xfd"))["record-name"] == "warning"

    def test_an_ordinary_name_of_another_language_is_no_finding(self):
        assert codes(with_extra("a/größe/重み")) == {}

    @pytest.mark.parametrize("record", ["b/data.pkl", "data.pkl", "ab/x", "A/x"])
    def test_a_record_outside_of_the_root_which_torch_refuses(self, record):
        data = with_extra(record)
        assert codes(data)["record-outside"] == "error"
        assert not verdict(open_bytes(data)).loads

    def test_two_records_of_one_name(self):
        twice = with_extra("a/data/9").replace(b"a/data/9", b"a/data/0")
        assert refused(twice) == "duplicate-record"

    @pytest.mark.parametrize("record", ["a/DATA.PKL", "a/Data/0", "A/data.pkl"])
    def test_names_that_differ_in_case_only(self, record):
        assert refused(with_extra(record)) == "duplicate-record"

    def test_a_root_with_capitals_is_fine(self):
        assert codes(zip_checkpoint(WEIGHT, ONE, root="ResNet50")) == {}

    def test_another_name_in_the_pickles_own_header(self):
        """CVE-2025-1944: zipfile refuses, torch does not look."""
        data = zip_checkpoint(WEIGHT, ONE).replace(b"archive/data.pkl", b"archive/xxxx.pkl", 1)
        with pytest.raises(zipfile.BadZipFile):
            zipfile.ZipFile(io.BytesIO(data)).read("archive/data.pkl")
        assert codes(data)["local-header"] == "error"
        assert open_bytes(data).root.numpy(copy=True).tolist() == [1, 1, 1, 1]

    def test_another_name_in_a_storages_own_header(self):
        data = zip_checkpoint(WEIGHT, ONE).replace(b"archive/data/0", b"archive/data/9", 1)
        (note,) = check_all_local(ZipDirectory(MemorySource(data)))
        assert (note.code, "archive/data/9" in note.message) == ("local-header", True)


class TestH4AppendedArchives:
    def test_two_archives_in_a_row_where_torch_and_zipfile_read_different_bytes(self, tmp_path):
        first, second = zip_checkpoint(WEIGHT, ONE), zip_checkpoint(WEIGHT, TWO)
        both = first + second
        assert zipfile.ZipFile(io.BytesIO(both)).read("archive/data/0") == TWO["0"]
        checkpoint = open_bytes(both)
        assert checkpoint.root.numpy(copy=True).tolist() == [1, 1, 1, 1]
        assert codes(both)["appended-archive"] == "error"
        torch = pytest.importorskip("torch")
        (tmp_path / "both.pth").write_bytes(both)
        assert torch.load(tmp_path / "both.pth", weights_only=True).tolist() == [1, 1, 1, 1]

    def test_the_same_without_zip64_records(self):
        both = zip_checkpoint(WEIGHT, ONE, zip64_end=False) + zip_checkpoint(WEIGHT, TWO, zip64_end=False)
        assert codes(both)["appended-archive"] == "error"

    def test_bytes_before_the_first_record(self):
        """A front part that no entry claims, with offsets that are right: what `zip -A` makes of a polyglot."""
        data = zip_checkpoint(WEIGHT, ONE, zip64_end=False)
        front = b"PK\3\4" + b"#!/bin/sh\n".ljust(60, b"x")
        directory = data.index(b"PK\1\2")
        moved = bytearray(front + data)
        at = directory + len(front)
        while moved[at : at + 4] == b"PK\1\2":
            struct.pack_into("<I", moved, at + 42, struct.unpack_from("<I", moved, at + 42)[0] + len(front))
            at += 46 + struct.unpack_from("<H", moved, at + 28)[0]
        struct.pack_into("<I", moved, at + 16, directory + len(front))
        assert codes(bytes(moved))["unclaimed-bytes"] == "error"
        assert open_bytes(bytes(moved)).root.numpy(copy=True).tolist() == [1, 1, 1, 1]

    def test_a_hole_between_two_records(self):
        records = {"a/data.pkl": WEIGHT, "a/hidden": bytes(200_000), "a/data/0": ONE["0"], "a/version": b"3\n"}
        data = zip_file(records, zip64_end=False)
        at = data.index(b"a/hidden", data.index(b"PK\1\2")) - 46
        size = 46 + len("a/hidden")
        made = bytearray(data[:at] + data[at + size :])
        end = made.index(b"PK\5\6")
        struct.pack_into("<2HI", made, end + 8, 3, 3, struct.unpack_from("<I", made, end + 12)[0] - size)
        assert codes(bytes(made))["unclaimed-bytes"] == "error"

    def test_a_second_end_record_in_the_comment(self):
        inner = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0, 0, 0, 0, 0)
        assert codes(zip_checkpoint(WEIGHT, ONE, zip64_end=False, comment=b"x" * 9)) == {}
        data = zip_checkpoint(WEIGHT, ONE, zip64_end=False, comment=inner)
        with pytest.raises(
            CheckpointError
        ):  # the last end record counts, for torch as well: it says that there is nothing
            open_bytes(data)

    def test_end_records_that_disagree(self):
        data = bytearray(zip_checkpoint(WEIGHT, ONE))
        struct.pack_into("<H", data, data.index(b"PK\5\6") + 10, 1)
        assert codes(bytes(data))["directory-disagrees"] == "error"

    def test_entries_behind_those_that_are_counted(self):
        """zipfile reads them all, torch as many as the record says."""
        data = bytearray(zip_checkpoint(WEIGHT, ONE, zip64_end=False))
        end = data.index(b"PK\5\6")
        count = struct.unpack_from("<H", data, end + 8)[0]
        struct.pack_into("<2H", data, end + 8, count - 1, count - 1)
        assert codes(bytes(data))["directory-disagrees"] == "error"


class TestH5FlagsMethodsChecksums:
    @pytest.mark.parametrize("flag", [0x01, 0x20, 0x40])
    def test_an_encrypted_storage_is_told_at_opening(self, flag):
        data = edited(zip_checkpoint(WEIGHT, ONE), b"archive/data/0", 8, "<H", 0x0808 | flag)
        assert codes(data)["record-encrypted"] == "error"
        with pytest.raises(Unsupported):
            open_bytes(data).root.numpy()

    def test_an_encrypted_pickle_is_refused(self):
        with pytest.raises(Unsupported):
            open_bytes(edited(zip_checkpoint(WEIGHT, ONE), b"archive/data.pkl", 8, "<H", 0x0809))

    def test_a_storage_packed_in_an_unknown_way(self):
        assert codes(edited(zip_checkpoint(WEIGHT, ONE), b"archive/data/0", 10, "<H", 14))["record-packed"] == "error"

    def test_a_deflated_storage_which_mmap_misreads(self):
        assert codes(zip_checkpoint(WEIGHT, ONE, deflate=("data/0",)))["storage-packed"] == "warning"

    def test_another_method_in_the_pickles_own_header(self):
        data = edited(zip_checkpoint(WEIGHT, ONE), b"archive/data.pkl", 8, "<H", 8, local=True)
        assert codes(data)["local-header"] == "error"

    def test_an_encryption_flag_in_the_pickles_own_header(self):
        """CVE-2025-1945: scanners stop there, torch reads on."""
        data = edited(zip_checkpoint(WEIGHT, ONE), b"archive/data.pkl", 6, "<H", 0x0809, local=True)
        assert codes(data)["local-header"] == "error"
        assert open_bytes(data).root.shape == (4,)

    def test_no_checksums_at_all(self):
        assert codes(zip_checkpoint(WEIGHT, ONE, crc=False)) == {"crc-absent": "info"}

    def test_a_record_that_is_called_a_folder(self):
        assert refused(edited(zip_checkpoint(WEIGHT, ONE), b"archive/data.pkl", 38, "<I", 0x10)) == "record-folder"


def tar_header(*, posix: bool) -> bytes:
    """A block that is a whole pickle, and a sound tar header whose first member has the pickle as its name."""
    block = bytearray(512)
    block[: len(pickled(SYSTEM))] = pickled(SYSTEM)
    block[124:136] = b"00000000000\0"
    block[156:157] = b"0"
    if posix:
        block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


class TestH6Polyglots:
    @pytest.mark.parametrize("posix", [True, False])
    def test_a_pickle_that_is_a_tar_archive_too(self, posix):
        """Before POSIX there was no word in the header: only the checksum tells, and Python's tarfile believes it."""
        data = tar_header(posix=posix) + bytes(1024)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            assert len(archive.getnames()) == 1
        assert refused(data) == "polyglot"
        assert "os.system" in {use.name for use in open_bytes(data[:100]).contents.globals}

    @pytest.mark.parametrize("front", [pickled(b"N"), legacy_stream(pickled(tensor(legacy=True)), ONE)])
    def test_a_zip_behind_a_pickle_and_behind_a_legacy_stream(self, front):
        both = front + zip_checkpoint(WEIGHT, ONE)
        assert zipfile.is_zipfile(io.BytesIO(both))
        assert refused(both) == "polyglot"


class TestH7SizesAndTargets:
    @pytest.mark.parametrize("body", [b"K\1(K\1K\2u", b"](K\1K\2u", b"K\1K\2a", b"N}b"])
    def test_items_are_set_on_what_takes_items_only(self, body):
        with pytest.raises(Damaged):
            open_bytes(zip_checkpoint(pickled(body)))

    def test_a_record_of_another_size_than_its_storage(self):
        """CVE-2026-24747, and torch with mmap to this day: numbers from beyond the record."""
        data = zip_checkpoint(pickled(tensor((64,))), ONE)
        assert codes(data)["storage-size"] == "error"
        with pytest.raises(CheckpointError):
            open_bytes(data).root.numpy()


class TestH8Programs:
    def test_a_torchscript_archive_is_no_state_dict(self):
        data = zip_checkpoint(WEIGHT, ONE, extra={"constants.pkl": pickled(b")"), "code/__torch__.py": b"x"})
        assert detect(MemorySource(data)).name != "torch-zip"


BAD_STORAGES = {
    "numel of 2**62": storage(numel=1 << 62),
    "negative numel": storage(numel=-1),
    "numel a float": many(text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), b"G" + bytes(8))
                     + b"Q",
    "key a list": many(text("storage"), name("torch", "FloatStorage"), b"]", text("cpu"), integer(4)) + b"Q",
    "location a number": many(text("storage"), name("torch", "FloatStorage"), text("0"), integer(0), integer(4))
                         + b"Q",
    "an unknown class": storage(cls="NoStorage"),
    "a name of 5,000 characters": storage(key="k" * 5000),
}  # fmt: skip


class TestH9Geometry:
    @pytest.mark.parametrize("title", BAD_STORAGES)
    def test_a_storage_that_is_none_spoils_its_own_tensor_only(self, title):
        body = mapped((text("bad"), tensor(of=BAD_STORAGES[title])), (text("good"), tensor()))
        checkpoint = open_bytes(zip_checkpoint(pickled(body), ONE))
        assert {finding.code: finding.severity for finding in checkpoint.findings}["bad-storage"] == "error"
        assert {finding.path[0] for finding in checkpoint.findings} == {"bad"}
        assert checkpoint["/good"].numpy(copy=True).tolist() == [1, 1, 1, 1]
        assert not verdict(checkpoint).loads

    @pytest.mark.parametrize(
        ("shape", "stride", "offset"),
        [((5,), (1,), 0), ((4,), (2,), 0), ((4,), (1,), 1), ((-1,), (1,), 0), ((4,), (-1,), 0), ((4,), (1,), -1),
         ((1 << 61, 1 << 61), (0, 0), 0), ((1,) * 65, (1,) * 65, 0), ((4,), (1, 1), 0), ((1 << 63,), (0,), 0)],
    )  # fmt: skip
    def test_a_view_that_leaves_its_storage(self, shape, stride, offset):
        sizes = (integer(offset), many(*map(integer, shape)), many(*map(integer, stride)))
        bad = call(name("torch._utils", "_rebuild_tensor_v2"), storage(numel=4), *sizes, b"\x89", HOOKS)
        checkpoint = open_bytes(zip_checkpoint(pickled(mapped((text("bad"), bad), (text("good"), tensor()))), ONE))
        (finding,) = checkpoint.findings
        assert (finding.severity, finding.code, finding.path) == ("error", "bad-tensor", ("bad",))

    def test_a_petabyte_out_of_four_bytes_is_only_numbers(self):
        body = tensor((1 << 40, 1 << 20), (0, 0), of=storage(numel=1))
        checkpoint = open_bytes(zip_checkpoint(pickled(body), {"0": floats(1)}))
        with memory() as peak:
            assert look_at_all(checkpoint) > 0
        assert peak.nbytes < 1_000_000


class TestH10Costs:
    def test_a_memo_slot_of_four_billion(self):
        with memory() as peak:
            open_bytes(pickled(b"N" + put(0xFFFFFFFF)))
        assert peak.nbytes < 1_000_000

    def test_a_repeated_key_counts_last(self):
        checkpoint = open_bytes(pickled(mapped((text("k"), integer(1)), (text("k"), integer(2)))))
        assert checkpoint.root.value.get("k") == 2
        assert [child.value for child in checkpoint.root.children] == [1, 2]


class TestH11Bombs:
    def test_a_pickle_that_inflates_a_thousandfold(self):
        packed = zip_checkpoint(pickled(b"N0" * 40_000_000), deflate=("data.pkl",))
        with memory() as peak, pytest.raises(OverBudget):
            open_bytes(packed)
        assert peak.nbytes < 5_000_000

    def test_a_directory_of_four_billion_entries(self):
        data = bytearray(zip_checkpoint(WEIGHT, ONE))
        struct.pack_into("<2Q", data, data.index(b"PK\6\6") + 24, 1 << 32, 1 << 32)
        with memory() as peak, pytest.raises(Damaged):
            open_bytes(bytes(data))
        assert peak.nbytes < 1_000_000


class TestH12Overlaps:
    def test_two_entries_of_one_header(self):
        data = zip_checkpoint(WEIGHT, {**ONE, "1": TWO["0"]})
        header = data.index(b"archive/data/0") - 30
        assert codes(edited(data, b"archive/data/1", 42, "<I", header))["overlapping-records"] == "error"

    def test_a_record_that_reaches_into_the_directory(self):
        data = zip_checkpoint(WEIGHT, ONE)
        size = len(data) - data.index(b"archive/version")
        assert codes(edited(data, b"archive/version", 20, "<2I", size, size))["overlapping-records"] == "error"

    def test_thousands_of_entries_of_one_header(self):
        entry = zip_file({"a/data.pkl": WEIGHT})
        directory = entry[entry.index(b"PK\1\2") : entry.index(b"PK\6\6")]
        many_times = b"".join(directory.replace(b"a/data.pkl", b"a/%08d" % n) for n in range(3000))
        start, size = entry.index(b"PK\1\2"), len(directory) + len(many_times)
        end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 3001, 3001, size, start, 0)
        assert codes(entry[:start] + directory + many_times + end)["overlapping-records"] == "error"

    def test_records_in_another_order_are_no_overlap(self):
        data = zip_checkpoint(WEIGHT, ONE, zip64_end=False)
        start, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
        entries = [b"PK\1\2" + each for each in data[start:end].split(b"PK\1\2")[1:]]
        assert codes(data[:start] + b"".join(reversed(entries)) + data[end:]) == {}


class TestH13Truncation:
    @pytest.mark.parametrize("whole", [zip_checkpoint(WEIGHT, ONE), legacy_stream(pickled(tensor(legacy=True)), ONE)])
    def test_a_cut_file_says_so(self, whole):
        for length in range(len(whole) - 30, len(whole)):
            with pytest.raises(CheckpointError, match=r"cut off|missing|damaged"):
                open_bytes(whole[:length])

    def test_a_legacy_tail_says_how_much_is_missing(self):
        whole = legacy_stream(pickled(tensor(legacy=True)), ONE)
        with pytest.raises(Truncated, match="5 missing"):
            open_bytes(whole[:-5])


class TestH14PathsInFiles:
    def test_a_storage_key_is_no_path(self, tmp_path):
        outside = tmp_path / "data"
        outside.mkdir()
        (outside / "0").write_bytes(bytes(16))
        path = tmp_path / "m.pth"
        path.write_bytes(zip_checkpoint(pickled(tensor(key="../../data/0"))))
        with open_checkpoint(path) as checkpoint, pytest.raises(Damaged):
            checkpoint.root.numpy()


class TestH15Text:
    KEY = "\x1b[2J\u202eevil\ud800\0" + "é"

    def test_nothing_from_a_file_reaches_the_terminal_unescaped(self):
        body = mapped((text(self.KEY), text(self.KEY)), (text("x" * 1_000_000), b"N"))
        for line in tree_lines(open_bytes(pickled(body))):
            assert not set(line) & set("\x1b\u202e\ud800\0")
            assert len(line) < 2000
            line.encode()


class TestH16Files:
    def test_a_file_that_changes_while_it_is_open(self, tmp_path):
        path = tmp_path / "m.pth"
        path.write_bytes(zip_checkpoint(WEIGHT, ONE))
        with open_checkpoint(path) as checkpoint:
            with path.open("ab") as file:
                file.write(b"x")
            with pytest.raises(SourceChanged):
                checkpoint.root.numpy(copy=True)

    def test_a_pipe_is_no_file(self, tmp_path):
        import os

        os.mkfifo(tmp_path / "pipe")
        with within(5), pytest.raises(Unreadable):
            open_checkpoint(tmp_path / "pipe")


class TestH17Safetensors:
    @pytest.mark.parametrize("header", [b'{"a":1}', b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}', b"{"])
    def test_a_header_that_lies(self, header):
        with pytest.raises(CheckpointError):
            open_bytes(len(header).to_bytes(8, "little") + header + bytes(4))


class TestH18SourceText:
    def test_source_in_a_legacy_stream_is_not_run_and_not_written(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        source = "open('canary', 'w').close()\n"
        pid = many(text("module"), name("my", "Net"), text("net.py"), text(source)) + b"Q"
        checkpoint = open_bytes(legacy_stream(pickled(pid + b")\x81")))
        look_at_all(checkpoint)
        assert checkpoint.root.type == "my.Net"
        assert list(tmp_path.iterdir()) == []


class TestH19Versions:
    def test_the_verdict_names_the_version_whose_rules_it_follows(self):
        said = verdict(open_bytes(zip_checkpoint(pickled(call(name("collections", "Counter"), mapped())))))
        assert (said.loads, said.version) == (True, "2.13")

    @pytest.mark.parametrize("body", [listed(b"\x8c\x01x"), b"C\x01x", b"I5\n"])
    def test_it_is_told_by_opcodes_too(self, body):
        said = verdict(open_bytes(zip_checkpoint(pickled(body, 4))))
        assert not said.loads
        assert "opcode" in said.reason
