"""Files that are no checkpoints, by their content: what each is, and what to do with it, in one sentence.

Sources: FORMATS section 1, and where not there: executorch's pte-file-format, leveldb's table/format.h (TensorFlow's
index files), Torch7's File.lua, APPNOTE.TXT, and the magic numbers of the others as their specifications state them.
"""

from __future__ import annotations

import re

from ckpt_viewer.core.tensor import Bytes
from ckpt_viewer.errors import CheckpointError, NotACheckpoint, Truncated, Unsupported
from ckpt_viewer.formats.base import Head
from ckpt_viewer.formats.broken import advice, cut_short

_CHECKPOINTS = (b"PK\x03\x04", b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e")
"""How the two containers of torch.save begin."""
_HDF5 = "this is an HDF5 file (Keras, h5py), no torch checkpoint; open it with an HDF5 viewer"
_HDF5_MAGIC, _USER_BLOCKS = b"\x89HDF\r\n\x1a\n", (0, *(512 << power for power in range(14)))
"""Where the magic number of HDF5 may stand: at the beginning, or behind a block of the user's of such a size."""
_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x05\x06", "this is an empty zip archive; copy or download the file again"),
    (b"PK\x07\x08PK\x03\x04", "this is one volume of a split zip archive; join the volumes first (zip -s 0)"),
    (b"\x1f\x8b", "this is a gzip file; unpack it with gunzip and open the result"),
    (b"BZh", "this is a bzip2 file; unpack it with bunzip2 and open the result"),
    (b"\xfd7zXZ\x00", "this is an xz file; unpack it with unxz and open the result"),
    (b"\x28\xb5\x2f\xfd", "this is a zstd file; unpack it with unzstd and open the result"),
    (b"7z\xbc\xaf\x27\x1c", "this is a 7z archive; unpack it with 7z x and open what is inside"),
    (b"Rar!\x1a\x07", "this is a RAR archive; unpack it with unrar x and open what is inside"),
    (b"\x5d\x00\x00", "this is an lzma file; unpack it with unlzma and open the result"),
    (b"\x1f\x9d", "this is a file of compress (.Z); unpack it with uncompress and open the result"),
    (b"\x04\x22\x4d\x18", "this is an LZ4 file; unpack it with unlz4 and open the result"),
    (b"\x93NUMPY", "this is a numpy array (.npy), no checkpoint; open it with numpy.load"),
    (b"\x0e\x03\x13\x01", "this is an HDF4 file, no torch checkpoint; open it with an HDF viewer"),
    (b"MATLAB 5.0 MAT-file", "this is a MATLAB file, no torch checkpoint; open it with scipy.io.loadmat"),
    (b"GGUF", "this is a GGUF model, no torch checkpoint; open it with llama.cpp's tools"),
    *((magic, "this is a GGML model (before GGUF), no torch checkpoint; convert it with llama.cpp's tools")
      for magic in (b"lmgg", b"fmgg", b"tjgg", b"algg")),
    (b"PYTORCH1", "this is an archive of a PyTorch 1.0 preview, which torch refuses too; save the model again"),
    (b"ZF0x", "this is a file of an old joblib, no torch checkpoint; open it with joblib.load, where you trust it"),
    (b"SQLite format 3\0", "this is an SQLite database, no checkpoint; open it with sqlite3"),
    (b"PAR1", "this is a Parquet table, no checkpoint; open it with pyarrow or pandas"),
    (b"ARROW1\0\0", "this is an Arrow file, no checkpoint; open it with pyarrow"),
    (b"\x7fELF", "this is a program or a shared library and no checkpoint; look for the file that torch.save wrote"),
    (b"\x89PNG\r\n\x1a\n", "this is a PNG picture and no checkpoint; look for the file that torch.save wrote"),
    (b"\xff\xd8\xff", "this is a JPEG picture and no checkpoint; look for the file that torch.save wrote"),
    (b"GIF8", "this is a GIF picture and no checkpoint; look for the file that torch.save wrote"),
    (b"%PDF-", "this is a PDF document and no checkpoint; look for the file that torch.save wrote"),
    (b"RIFF", "this is a sound, video or picture (RIFF) and no checkpoint; look for the file that torch.save wrote"),
)  # fmt: skip
_FLATBUFFERS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"PTMF"), "this is a PyTorch Mobile flatbuffer, a program; load it with torch.jit.load"),
    (re.compile(rb"ET\d\d"), "this is an ExecuTorch program (.pte); run it with ExecuTorch"),
    (re.compile(rb"FT\d\d"), "this is ExecuTorch's tensor data (.ptd); use it together with its program"),
    (re.compile(rb"TFL\d"), "this is a TensorFlow Lite model; open it with Netron or TensorFlow"),
    (
        re.compile(rb"ftyp"),
        "this is a video (MP4) and no checkpoint; look for the file that torch.save wrote",
    ),
)
"""What may stand at byte 4."""
_TABLE_MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
"""The last bytes of a leveldb table; TensorFlow's index files are such."""
_BUNDLE = re.compile(rb"\0\0[\x02-\x7f]\x08[\x01-\x7f][\x10\x12\x1a]")
"""How the first block of such an index begins: the empty key, and a BundleHeaderProto with the number of shards."""
_TORCH7 = re.compile(rb"4\n1\n3\nV 1\n|[\x03\x04]\0\0\0\x01\0\0\0\x03\0\0\0V 1")
_ONNX = re.compile(rb"\x08[\x01-\x1f](?:\x12[\x00-\x7f]|\x1a|\x22|\x3a)")
"""A protobuf ModelProto: ir_version, then producer_name, producer_version, domain or graph."""

ZEROS_WHOLE, ZEROS_SAMPLES, ZEROS_BLOCK = 16 << 20, 64, 1 << 16
"""A file of zeros is read whole up to so many bytes, beyond that in so many places of so many bytes."""


def explain(head: Head, source: Bytes | None = None) -> CheckpointError:
    """Return the error that names what a file is which was none of `FORMATS`.

    Args:
        source: the file; without it only its beginning is judged.
    """
    data = head.data
    if head.size == 0:
        return NotACheckpoint(f"the file is empty; {advice(source)}")
    if _is_hdf5(head):
        return NotACheckpoint(_HDF5)
    if not data.strip(b"\0"):
        return _zeros(source, head.size)
    if head.size < 15 and any(whole.startswith(data) for whole in _CHECKPOINTS):
        error = Truncated("the file", wanted=max(15, head.size), found=head.size, offset=0)
        error.args = (cut_short(source or head.source),)
        return error
    if _TORCH7.match(data):
        return NotACheckpoint("this is a file of Torch7 (Lua), not of PyTorch; convert it with torchfile or torch7")
    for start, sentence in _STARTS:
        if data.startswith(start):
            return NotACheckpoint(sentence)
    for pattern, sentence in _FLATBUFFERS:
        if pattern.fullmatch(data[4:8]):
            return NotACheckpoint(sentence)
    from ckpt_viewer.formats import hints_text

    return hints_text.explain(head) or _by_structure(head, source)


def _is_hdf5(head: Head) -> bool:
    size = len(_HDF5_MAGIC)
    places = [at for at in _USER_BLOCKS if at + size <= head.size]
    return any(head.source.read_at(at, size) == _HDF5_MAGIC for at in places)


def _by_structure(head: Head, source: Bytes | None) -> CheckpointError:
    """Name what has no magic number of its own at the very beginning."""
    data = head.data
    if data[257:262] == b"ustar":
        return Unsupported("this is a tar archive; unpack it with tar xf and open what is inside")
    table = source is not None and head.size >= 48 and source.read_at(head.size - 8, 8) == _TABLE_MAGIC
    if table or _BUNDLE.match(data):
        return NotACheckpoint("this is the index of a TensorFlow checkpoint; open it with tf.train.load_checkpoint")
    if _ONNX.match(data) and (b"pytorch" in data or b"onnx" in data.lower() or b"graph" in data.lower()):
        return NotACheckpoint("this is an ONNX model, a program and no checkpoint; open it with Netron or onnx.load")
    if data[:1] == b"x" and int.from_bytes(data[:2], "big") % 31 == 0:
        return NotACheckpoint(
            "this is a zlib stream (joblib writes those), no checkpoint; open it with joblib.load, where you trust it"
        )
    return NotACheckpoint(
        "torch.save did not write this file, nor any program that is known here; check where it comes from"
    )


def _zeros(source: Bytes | None, size: int) -> NotACheckpoint:
    """Name a file that begins with zeros: nothing else in it, or something further on."""
    if source is None or _only_zeros(source, size):
        return NotACheckpoint(
            f"the file is {size} bytes of zeros and nothing else, as a full disk or an interrupted download leaves it; "
            f"{advice(source)}"
        )
    return NotACheckpoint(
        f"the file begins with zeros, as a download in pieces leaves it until it is done; {advice(source)}"
    )


def _only_zeros(source: Bytes, size: int) -> bool:
    """Whether there is nothing but zeros: exactly for small files, by samples for large ones."""
    places = range(0, min(size, ZEROS_WHOLE), ZEROS_BLOCK)
    stride = max((size - ZEROS_WHOLE) // ZEROS_SAMPLES, ZEROS_BLOCK)
    samples = range(size - ZEROS_BLOCK, ZEROS_WHOLE, -stride) if size > ZEROS_WHOLE else ()
    return not any(source.read_at(at, min(ZEROS_BLOCK, size - at)).strip(b"\0") for at in (*places, *samples))
