"""Reads zstd with the library that nearly every Linux and macOS has, for Pythons before 3.14, which have no reader.

Source: zstd.h, section "Streaming decompression". The library gets bytes and gives bytes; how much memory it may take
is set before it sees any.
"""

from __future__ import annotations

import ctypes
import sys

_NAMES = {"linux": "libzstd.so.1", "darwin": "libzstd.1.dylib"}
_WINDOW_LOG_MAX = 100
"""Number of the parameter ZSTD_d_windowLogMax."""
_BLOCK = 1 << 17


class _Buffer(ctypes.Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer, which have the same fields."""

    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_size_t), ("pos", ctypes.c_size_t))


def load() -> ctypes.CDLL | None:
    """Return the system's library; None if it has none."""
    try:
        library = ctypes.CDLL(_NAMES[sys.platform])
        library.ZSTD_createDStream.restype = ctypes.c_void_p
        library.ZSTD_freeDStream.argtypes = (ctypes.c_void_p,)
        library.ZSTD_DCtx_setParameter.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_int)
        library.ZSTD_DCtx_setParameter.restype = ctypes.c_size_t
        both = ctypes.POINTER(_Buffer)
        library.ZSTD_decompressStream.argtypes = (ctypes.c_void_p, both, both)
        library.ZSTD_decompressStream.restype = ctypes.c_size_t
        library.ZSTD_isError.argtypes = library.ZSTD_getErrorName.argtypes = (ctypes.c_size_t,)
        library.ZSTD_getErrorName.restype = ctypes.c_char_p
    except (KeyError, OSError, AttributeError):  # another system, no library, or one older than 1.4
        return None
    return library


class Decompressor:
    """Unpacks one frame, in the manner of bz2's and lzma's decompressors.

    Attributes:
        eof: whether the frame is at its end. needs_input: whether nothing more comes without more data.
        unused_data: what followed the end of the frame.
    """

    def __init__(self, library: ctypes.CDLL, window_log: int) -> None:
        """Prepare to unpack with a window of at most ``2 ** window_log`` bytes; raises ValueError."""
        self._library = library
        self._stream = library.ZSTD_createDStream()
        if not self._stream:
            raise ValueError("there is no memory for it")
        self.eof, self.needs_input, self.unused_data = False, True, b""
        self._checked(library.ZSTD_DCtx_setParameter(self._stream, _WINDOW_LOG_MAX, window_log))
        self._left = b""

    def __del__(self) -> None:
        if getattr(self, "_stream", None):
            self._library.ZSTD_freeDStream(self._stream)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return up to `max_length` bytes of what is inside; raises ValueError where the data make no sense."""
        given = self._left + data
        source = _Buffer(ctypes.cast(ctypes.c_char_p(given), ctypes.c_void_p), len(given), 0)
        out: list[bytes] = []
        room = max_length
        while room and not self.eof:
            block = ctypes.create_string_buffer(min(room, _BLOCK))
            target = _Buffer(ctypes.cast(block, ctypes.c_void_p), len(block), 0)
            code = self._library.ZSTD_decompressStream(self._stream, ctypes.byref(target), ctypes.byref(source))
            self.eof = self._checked(code) == 0
            out.append(block.raw[: target.pos])
            room -= target.pos
            if target.pos < target.size and source.pos == source.size:  # it waits for data
                break
        self._left = given[source.pos :]
        self.needs_input = room > 0 and not self.eof
        if self.eof:
            self.unused_data, self._left = self._left, b""
        return b"".join(out)

    def _checked(self, code: int) -> int:
        if not self._library.ZSTD_isError(code):
            return code
        problem = self._library.ZSTD_getErrorName(code).decode("ascii", "replace")
        raise ValueError(f"{problem}: the limit is reached" if "memory" in problem else problem)
