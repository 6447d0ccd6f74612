"""Files that are no checkpoints, by their first bytes: what they are and what to do with them. FORMATS section 1."""

from __future__ import annotations

from ckpt_viewer.errors import NotACheckpoint, Truncated, Unreadable, Unsupported
from ckpt_viewer.formats.base import Head

_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x05\x06", "this is an empty zip archive; copy or download the file again"),
    (b"\x1f\x8b", "this is a gzip file; unpack it with gunzip and open the result"),
    (b"BZh", "this is a bzip2 file; unpack it with bunzip2 and open the result"),
    (b"\xfd7zXZ\x00", "this is an xz file; unpack it with unxz and open the result"),
    (b"\x28\xb5\x2f\xfd", "this is a zstd file; unpack it with unzstd and open the result"),
    (b"7z\xbc\xaf\x27\x1c", "this is a 7z archive; unpack it and open what is inside"),
    (b"Rar!", "this is a RAR archive; unpack it and open what is inside"),
    (b"version https://git-lfs", "this is a Git LFS pointer and not the file itself; run `git lfs pull`"),
    (b"\x93NUMPY", "this is a numpy array (.npy), no checkpoint; open it with numpy.load"),
    (b"\x89HDF\r\n\x1a\n", "this is an HDF5 file (Keras, h5py), no torch checkpoint; open it with an HDF5 viewer"),
    (b"GGUF", "this is a GGUF model, no torch checkpoint; open it with llama.cpp's tools"),
    (b"PYTORCH1", "this is an archive of a PyTorch 1.0 preview, which torch refuses too; save the model again"),
)
_WEB = (b"<!doctype", b"<html", b"<?xml", b'{"error', b"entry not found", b"invalid username or password")


def explain(head: Head) -> NotACheckpoint | Unsupported | Truncated | Unreadable:
    """Return the error that names what the file is; it was none of `FORMATS`."""
    data = head.data
    if head.size == 0:
        return NotACheckpoint("the file is empty; copy or download it again")
    if not data.strip(b"\0"):
        return NotACheckpoint(
            "the file begins with zeros only, as an interrupted download leaves it; download it again"
        )
    for start, sentence in _STARTS:
        if data.startswith(start):
            return NotACheckpoint(sentence)
    if data[4:8] == b"PTMF":
        return NotACheckpoint("this is a PyTorch Mobile flatbuffer (.ptl), a program and no checkpoint")
    if data[4:8] == b"ET12":
        return NotACheckpoint("this is an ExecuTorch program (.pte) and no checkpoint")
    if data.lstrip().lower().startswith(_WEB):
        return NotACheckpoint("this is a web page or an answer of a web service, not the file; download it again")
    if _is_safetensors(head):
        return Unsupported("this is a safetensors file, which this version does not read")
    if data[257:262] == b"ustar":
        return Unsupported("this is a tar archive (torch before 0.1.12 wrote those), which this version does not read")
    if _is_text(data):
        return NotACheckpoint("this is a text file, no checkpoint; a .pth that Python itself uses lists folders")
    return NotACheckpoint("torch.save did not write this file; nothing in its first bytes is known")


def _is_safetensors(head: Head) -> bool:
    length = int.from_bytes(head.data[:8], "little")
    return 0 < length <= 100_000_000 and 8 + length <= head.size and head.data[8:].lstrip(b" ")[:1] == b"{"


def _is_text(data: bytes) -> bool:
    try:
        text = data[:1024].decode("utf-8", "strict" if len(data) <= 1024 else "ignore")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\r\n\t" for character in text)
