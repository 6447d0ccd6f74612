"""A file of N bytes is listed or refused in 200 MB + 20 N of memory: the program itself, by its own VmHWM."""

from __future__ import annotations

import pickle
import struct
import sys
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
from builders import (
    call,
    integer,
    legacy_stream,
    listed,
    many,
    name,
    pickled,
    put,
    tensor,
    text,
    zip_checkpoint,
    zip_file,
)
from opening import Nowhere, memory

from ckpt_viewer.errors import OverBudget
from ckpt_viewer.unpickle.reader import PickleReader

MB = 1_000_000
BASE, TIMES = 200 * MB, 20
CHILD = """
import sys
from ckpt_viewer.cli import main
try:
    main(["ls", sys.argv[1], "--json"])
finally:
    sys.stdout.flush()
    with open("/proc/self/status") as status:
        sys.stderr.write([line for line in status if line.startswith("VmHWM")][0])
"""
BLOB = legacy_stream(pickled(listed(*(integer(n) for n in range(500)))))

ATTACKS = {
    "a list of millions of numbers": lambda: pickled(b"](" + b"K\1" * (2 * MB) + b"e"),
    "empty lists": lambda: pickled(b"(" + b"]" * (MB + MB // 5) + b"l"),
    "short strings": lambda: pickled(b"](" + b"".join(b"\x8c\x04%04x" % n for n in range(65536)) * 8 + b"e", 4),
    "big integers": lambda: pickled(b"](" + (b"\x8a\x09" + b"\xff" * 8 + b"\0") * 300_000 + b"e"),
    "names": lambda: pickled(b"".join(name(f"m{n}", "x") + b"0" for n in range(150_000)) + b"N"),
    "records": lambda: zip_file({"a/data.pkl": pickled(b"N"), **{f"a/{n}": b"" for n in range(40_000)}}, alignment=1),
    "pickles beside it": lambda: zip_file(
        {"a/data.pkl": pickled(b"N"), **{f"a/{n}.pkl": pickled(name("os", f"f{n}")) for n in range(20_000)}},
        alignment=1,
    ),
    "pickles behind it": lambda: pickled(b"N") + b"".join(pickled(name("os", f"f{n}")) for n in range(100_000)),
    "a list that inflates": lambda: zip_checkpoint(pickled(b"(" + b"]" * (40 * MB) + b"l"), deflate=("data.pkl",)),
    "text that inflates": lambda: zip_checkpoint(
        pickled(b"X" + struct.pack("<I", 60 * MB) + b"a" * 60 * MB), deflate=("data.pkl",)
    ),
    "one blob again and again": lambda: pickled(
        name("torch.storage", "_load_from_bytes") + put(1) + b"0"
        + many(b"B" + struct.pack("<I", len(BLOB)) + BLOB) + put(2) + b"0(" + b"h\1h\2R" * 20_000 + b"l", 3),
    "one tensor again and again": lambda: zip_checkpoint(
        pickled(tensor() + put(0) + b"0(" + b"h\0" * 500_000 + b"l"), {"0": bytes(16)}
    ),
    "objects": lambda: pickled(name("a", "b") + put(0) + b"0(" + b"h\0)\x81" * 250_000 + b"l"),
    "calls that are no tensors": lambda: pickled(
        b"(" + call(name("torch._utils", "_rebuild_tensor_v2")) * 50_000 + b"l"
    ),
    "a key of a million marks": lambda: pickled(b"}" + text("\u202e" * MB) + b"Ns"),
}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("title", ATTACKS)
def test_listing_stays_within_the_budget(tmp_path, title):
    data = ATTACKS[title]()
    path = tmp_path / "attack.pth"
    path.write_bytes(data)
    with (tmp_path / "out").open("wb") as out:
        child = Popen(
            [sys.executable, "-c", CHILD, str(path)], stdout=out, stderr=PIPE, text=True, cwd=Path(__file__).parents[2]
        )
        _, said = child.communicate(timeout=100)
    *sentences, peak = said.splitlines()
    assert len(sentences) <= 1, said
    assert int(peak.split()[1]) * 1024 < BASE + TIMES * len(data)


WIDE = {
    "text": (3, b"X"),
    "text of Python 2": (1, b"T"),
}


@pytest.mark.parametrize("title", WIDE)
def test_one_wide_character_makes_a_long_text_cost_four_times_as_much(title):
    """CPython keeps a str in as many bytes for each character as its widest needs."""
    protocol, opcode = WIDE[title]
    plain = b"a" * 29_999_996
    for first, refused in ((b"aaaa", False), ("\U0001f600".encode(), True)):
        data = pickled(opcode + (30_000_000).to_bytes(4, "little") + first + plain, protocol)
        reader = PickleReader(data, Nowhere(), justified=1000)
        with memory() as peak:
            if refused:
                with pytest.raises(OverBudget):
                    reader.read(0)
            else:
                assert len(reader.read(0).value) == 30_000_000
        assert peak.nbytes < 70_000_000


def test_a_wide_escape_makes_a_long_line_cost_four_times_as_much():
    data = b"V\\U0001f600" + b"a" * 30_000_000 + b"\n."
    with memory() as peak, pytest.raises(OverBudget):
        PickleReader(data, Nowhere(), justified=1000).read(0)
    assert peak.nbytes < 70_000_000


def test_long_texts_of_every_width_are_read_as_python_reads_them():
    for letter in ("a", "\xe9", "\u20ac", "\U0001f600"):
        value = letter + "b" * 70_000
        for protocol in range(6):
            assert PickleReader(pickle.dumps(value, protocol), Nowhere()).read(0).value == value
