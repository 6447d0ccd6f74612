"""Files that are no checkpoints: each is named, with what to do next, in one sentence."""

from __future__ import annotations

import pytest
from builders import floats, legacy_stream, pickled, tensor, zip_checkpoint
from opening import memory

from ckpt_viewer.errors import CheckpointError, NotACheckpoint, Truncated
from ckpt_viewer.formats import detect, hints, open_checkpoint
from ckpt_viewer.formats.base import Head
from ckpt_viewer.formats.hints import explain
from ckpt_viewer.sources import MemorySource

OID = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 178827443\n"
TABLE = b"\0" * 7 + b"some leveldb blocks" * 5 + 0xDB4775248B80FB57.to_bytes(8, "little")


def said(data: bytes) -> str:
    """Return the sentence about a file that must be refused."""
    with pytest.raises(CheckpointError) as refused:
        detect(MemorySource(data))
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert len(sentence) < 400
    return sentence


FOREIGN = {
    "RAR": (b"Rar!\x1a\x07\x01\0" + bytes(50), "unrar"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(50), "7z x"),
    "split zip": (b"PK\x07\x08PK\x03\x04" + bytes(50), "volume"),
    "lzma": (b"\x5d\0\0\x80\0" + bytes(50), "unlzma"),
    "HDF4": (b"\x0e\x03\x13\x01" + bytes(50), "HDF4"),
    "MATLAB": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(90), "scipy.io.loadmat"),
    "GGML": (b"tjgg" + bytes(50), "llama.cpp"),
    "torch 1.0 preview": (b"PYTORCH1" + bytes(50), "preview"),
    "old joblib": (b"ZF0x139              x\x9c" + bytes(50), "joblib.load"),
    "joblib with zlib": (b"x\x9c" + bytes(range(1, 200)), "joblib"),
    "TensorFlow index": (b"\0\0\x06\x08\x01\x1a\x02\x08\x01" + bytes(50), "tf.train.load_checkpoint"),
    "TensorFlow index by its end": (b"\x01" + TABLE, "tf.train.load_checkpoint"),
    "ONNX": (b"\x08\x08\x12\x07pytorch\x1a\x052.3.0:\0", "ONNX"),
    "ExecuTorch of tomorrow": (b"\x3c\0\0\0ET13" + bytes(50), "ExecuTorch"),
    "ExecuTorch data": (b"\x3c\0\0\0FT01" + bytes(50), "ExecuTorch"),
    "TFLite": (b"\x1c\0\0\0TFL3" + bytes(50), "TensorFlow Lite"),
    "Torch7": (b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1\x12\0\0\0torch.DoubleTensor", "Torch7"),
    "Torch7 as text": (b"4\n1\n3\nV 1\n18\ntorch.DoubleTensor\n1\n", "Torch7"),
    "SQLite": (b"SQLite format 3\0" + bytes(50), "sqlite3"),
    "program": (b"\x7fELF\x02\x01\x01" + bytes(50), "program"),
    "PDF": (b"%PDF-1.7\n\xff\xfe" + bytes(50), "PDF"),
}  # fmt: skip


@pytest.mark.parametrize("block", [b"", b"made by hand".ljust(512, b"\0"), bytes(2048), b"text" * 2048, bytes(1 << 22)])
def test_an_hdf5_file_may_begin_with_a_block_of_its_user(block):
    assert "HDF5" in said(block + b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert "HDF5" not in said(block + b"x" + b"\x89HDF\r\n\x1a\n" + bytes(100))


@pytest.mark.parametrize("title", FOREIGN)
def test_a_file_of_another_program_is_named(title):
    data, words = FOREIGN[title]
    assert words in said(data)


TEXTS = {
    "LFS of its first days": (POINTER.replace("https://git-lfs.github.com/spec/v1", "http://git-media.io/v/2"), (OID,)),
    "LFS behind a blank line": ("\n" + POINTER, ("Git LFS pointer", "179 MB", OID)),
    "page behind a comment": ("<!-- saved from url -->\n<HTML><title>Sign in</title>", ("web page", "'Sign in'")),
    "part of a page": ("\n\n  <META charset=utf-8><title>Gone</title>", ("web page", "'Gone'")),
    "forbidden": ("Forbidden", ("web service", "'Forbidden'")),
    "server": ("503 Service Unavailable\n", ("web service", "503")),
    "proxy": ("upstream connect error or disconnect/reset before headers", ("web service",)),
    "gated": ("Access to model a/b is restricted. You must have access to it and be authenticated.", ("web service",)),
    "JSON text": ('"Not Found"', ("web service",)),
    "errors in a list": ('[{"error": "Model is overloaded"}]', ("web service", "'Model is overloaded'")),
    "S3 as JSON": ('{"Code": "NoSuchKey", "Message": "The key does not exist."}', ("'The key does not exist.'",)),
    "problem details": ('{"type": "about:blank", "title": "Not Found", "status": 404}', ("'Not Found'",)),
    "Apigee": ('{"fault": {"faultstring": "Invalid key"}}', ("web service", "Invalid key")),
    "no success": ('{"success": false, "data": null}', ("web service", "'no success'")),
    "OAuth": ('{"error_description": "The token expired"}', ("'The token expired'",)),
    "JSON that is no answer": ('{"status": 3, "title": "a", "success": true}', ("JSON file",)),
    "blanks": (" \n\t\r\n" * 20, ("only blanks",)),
    "LFS": (POINTER, ("Git LFS pointer", "179 MB", OID, "git lfs pull")),
    "LFS before its first release": (POINTER.replace("git-lfs", "hawser"), ("Git LFS pointer", "179 MB", OID)),
    "LFS with an extension": (POINTER.replace("oid", "ext-0-a sha256:ab\noid"), ("179 MB", OID)),
    "LFS cut short": (POINTER[:60], ("Git LFS pointer", "git lfs pull")),
    "annex": ("/annex/objects/SHA256E-s1234--abcd.pth\n", ("git-annex", "1.23 kB", "git annex get")),
    "DVC": ("outs:\n- md5: 0123456789abcdef\n  size: 12\n  path: model.pth\n", ("DVC", "dvc pull")),
    "page": ("<!DOCTYPE html>\n<html><title>404 Not Found</title>", ("web page", "'404 Not Found'")),
    "S3": ('<?xml version="1.0"?><Error><Code>AccessDenied</Code>', ("web page", "'AccessDenied'")),
    "hub": ("Entry not found", ("web service", "download it again")),
    "error": ('{"error":"Repository not found"}', ("web service", "'Repository not found'")),
    "errors": ('{"errors": [{"status": 404}]}', ("web service", "404")),
    "JSON": ('{"architectures": ["Bert"], "hidden_size": 16}', ("JSON file",)),
    "long JSON": ('{"a": [' + "1," * 4000 + "1]}", ("JSON file",)),
    "path of one folder": ("/usr/lib/python3/somewhere\n", ("path configuration", "1 folder ('/usr/lib")),
    "paths": ("./src\r\n# a comment\r\nC:\\pkg\\a b\r\n../x\r\n", ("path configuration", "3 folders", "1 more")),
    "editable install": (
        "import __editable___pkg_finder; __editable___pkg_finder.install()",
        ("1 import line", "start"),
    ),
    "both": ("./a\nimport os; os.system('x')\n", ("1 folder", "1 import line")),
    "words": ("just some text\nin two lines\n", ("text file", "'just some text'")),
    "latin": ("# notes über ein Modell\n" * 400, ("text file",)),
    "hidden characters": ("a\u202eb", ("this file",)),
}


@pytest.mark.parametrize("title", TEXTS)
def test_a_text_file_is_named(title):
    text, words = TEXTS[title]
    sentence = said(text.encode())
    assert [each for each in words if each not in sentence] == []


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-8-sig"])
def test_text_in_other_encodings_is_text(encoding):
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    assert "'hello world'" in said(mark + "hello world".encode(encoding))


def test_a_page_of_many_slashes_costs_no_time():
    assert said(b"/" * 4000 + b":{") != ""
    assert said(b"outs:" + b" -\n" * 1300) != ""


# --- zeros and beginnings -----------------------------------------------------------------------------------------


class Large:
    """A file of zeros, but for one byte that may lie anywhere."""

    name = "large"

    def __init__(self, size: int, place: int = -1) -> None:
        self.size, self.place, self.read = size, place, 0

    def read_at(self, offset: int, size: int) -> bytes:
        self.read += size
        data = bytearray(size)
        if offset <= self.place < offset + size:
            data[self.place - offset] = 1
        return bytes(data)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        buffer[:] = self.read_at(offset, len(buffer))


def test_a_small_file_of_zeros_is_read_whole():
    assert "5000 bytes of zeros and nothing else" in said(bytes(5000))
    assert "begins with zeros" in said(bytes(1 << 20) + b"x")


@pytest.mark.parametrize("place", [hints.ZEROS_WHOLE - 1, (1 << 40) - 1])
def test_a_large_file_of_zeros_is_sampled_from_both_ends(place):
    source = Large(1 << 40)
    assert "zeros and nothing else" in str(explain(Head(source), source))
    assert source.read < 2 * hints.ZEROS_WHOLE
    source = Large(1 << 40, place)
    assert "begins with zeros" in str(explain(Head(source), source))


@pytest.mark.parametrize("whole", [zip_checkpoint(pickled(tensor()), {"0": floats(1)}), legacy_stream(pickled(b"N"))])
def test_a_beginning_too_short_to_be_recognised_is_called_cut_off(whole):
    for length in (1, 2):
        with pytest.raises(Truncated, match="missing"):
            detect(MemorySource(whole[:length]))


def test_a_joblib_file_is_named_although_it_begins_as_a_pickle(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x04\x8c\x13joblib.numpy_pickle\x94\x8c\x11NumpyArrayWrapper\x94\x93)\x81}b" + b"\xff" * 99)
    with pytest.raises(NotACheckpoint, match=r"joblib\.load"):
        open_checkpoint(path)


def test_naming_a_file_takes_little_memory():
    data = b"\x08\x08\x12\x07pytorch" + bytes(40 << 20)
    source = MemorySource(data)
    with memory() as peak, pytest.raises(NotACheckpoint):
        detect(source)
    assert peak.nbytes < 1 << 20
