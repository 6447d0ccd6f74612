"""Coverage-guided fuzzing of everything that reads a file: the detector, each container, the pickle machine.

    .venv/bin/pip install -e ".[fuzz]"
    .venv/bin/python tests/fuzz/fuzz_open.py [--minutes 30] [--corpus DIR] [libFuzzer's own options]

Runs until the time is over or an input breaks a promise: only CheckpointError escapes, an input is opened and listed
within the budget of time and memory, and the machine gives the same with its shortcut for tensors as without. What
broke it is left in the folder of the corpus as ``crash-...``, ``timeout-...`` or ``oom-...``; it becomes a test in the
room of what it broke.

The first byte of an input says where the rest goes (`WAYS`). Seeds and the dictionary are made by the builders.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))
if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

import builders as b
from archives import exported, tar_storage, tar_tensor, torch_tar, weight_config
from payloads import PAYLOADS

MOST_BYTES = 4096
SECONDS = 5
MEGABYTES = 700
"""Of the whole process, the fuzzer's own tables included; one input of `MOST_BYTES` may cost 200."""


def as_it_is(data: bytes) -> None:
    """A whole file."""
    from opening import open_and_look

    open_and_look(data)


def as_zip(data: bytes) -> None:
    """The ``data.pkl`` of a zip with two storages."""
    as_it_is(b.zip_checkpoint(data, {"0": bytes(64), "1": bytes(8)}))


def as_deflated(data: bytes) -> None:
    """The same, inflated first."""
    as_it_is(b.zip_checkpoint(data, {"0": bytes(64)}, deflate=("data.pkl", "data/0")))


def as_legacy(data: bytes) -> None:
    """The object of a legacy stream and what follows it."""
    as_it_is(_LEGACY_HEAD + data)


def with_and_without_shortcut(data: bytes) -> None:
    """One pickle, read twice."""
    from opening import outcome

    if outcome(data, shortcut=True) != outcome(data, shortcut=False):
        raise AssertionError("the shortcut for tensors reads something else than the opcodes")


def salvaged(data: bytes) -> None:
    """A whole file, of which what is left is rebuilt where it is broken."""
    from opening import look_at_all, open_broken, read_all

    from ckpt_viewer.errors import CheckpointError

    try:
        checkpoint = open_broken(data)
        look_at_all(checkpoint)
        read_all(checkpoint)
    except CheckpointError as error:
        if not str(error).strip() or "\n" in str(error):
            raise AssertionError(f"no sentence: {error!r}") from error


WAYS: tuple[Callable[[bytes], None], ...] = (
    as_it_is,
    as_zip,
    as_deflated,
    as_legacy,
    with_and_without_shortcut,
    salvaged,
)
_LEGACY_HEAD = (
    b.pickled(b.LEGACY_MAGIC)
    + b.pickled(b.integer(1001))
    + b.pickled(b.mapped((b.text("protocol_version"), b.integer(1001)), (b.text("little_endian"), b"\x88")))
)


def one_input(data: bytes) -> None:
    """Read one input; raises whatever is a bug."""
    if data:
        WAYS[data[0] % len(WAYS)](data[1:])


def pickles() -> Iterator[bytes]:
    """Small pickles that between them use most opcodes and recipes."""
    tensor = b.tensor((2, 2), key="0")
    two = b.name("torch._utils", "_rebuild_tensor_v2") + b.put(0) + b"0" + b.many(tensor, b.tensor((1,), key="1"))
    yield b.pickled(b.mapped((b.text("weight"), tensor), (b.text("epoch"), b.integer(3))))
    yield b.pickled(two)
    yield b.pickled(b.listed(b.tensor((2,), cls="QInt8Storage"), b.integer(-1), b.integer(1 << 70), b"G" + bytes(8)))
    yield b.pickled(b.name("a", "Net") + b")\x81" + b.mapped((b.text("_parameters"), b"}")) + b"b", 4)
    yield b.pickled(b"\x95" + (20).to_bytes(8, "little") + b"\x8c\x02os\x94\x8c\x06system\x94\x93\x94)R\x94", 4)
    yield b"(dp0\nS'a'\np1\nI1\nsV\\u00e9\nL12L\nsF1.5\n(lp2\nI01\nas."
    yield b"(ios\nsystem\n."
    yield b.pickled(
        b.listed(b"\x8f(K\x01K\x02\x90", b"(K\x01\x91", b"C\x02ab", b"\x96" + bytes(8), b"2", b"U\x02\xc3\xa9"), 5
    )
    for protocol, _, payload in PAYLOADS.values():
        yield b.pickled(payload("canary"), protocol)


def seeds() -> Iterator[bytes]:
    """Inputs to begin with, the byte for the way included."""
    for pickle in pickles():
        yield from (bytes([way]) + pickle for way in range(len(WAYS)))
    good = b.pickled(b.tensor((4,)))
    four = {"0": b.floats(1, 2, 3, 4)}
    yield b"\0" + b.zip_checkpoint(good, four)
    yield b"\0" + b.zip_checkpoint(good, four, alignment=1, zip64_end=False, comment=b"c")
    yield b"\0" + b.zip_checkpoint(good, four, alignment=8, deflate=("data.pkl", "data/0"), byteorder="big")
    yield b"\0" + b.zip_checkpoint(good, four, extra={"other.pkl": b.pickled(b"N")}, crc=False)
    yield b"\0" + b.legacy_stream(b.pickled(b.tensor((4,), key="0", legacy=True)), four)
    yield b"\0" + b.pickled(b"N") + b.pickled(b.name("os", "system"))
    yield from (bytes([WAYS.index(salvaged)]) + archive for archive in broken(good, four))


def broken(good: bytes, four: dict[str, bytes]) -> Iterator[bytes]:
    """Files that are cut off, in the forms that salvaging knows: the pickle first, or behind the storages."""
    behind = {"m/data/0": four["0"], "m/data.pkl": good, "m/code/a.py": b"class A(Module):\n", "m/constants.pkl": b"N."}
    package = {"p/.data/0.storage": four["0"], "p/a/a.pkl": good, "p/.data/version": b"6\n"}
    program = {"w/data/weights/weight_0": four["0"], "w/data/weights/m_weights_config.json": b'{"config": {}}'}
    nested = {"serialized_state_dict.pt": b.zip_checkpoint(good, four), "serialized_exported_program.json": b"{}"}
    for records in (behind, package, program, nested, {"policy.pth": b.zip_checkpoint(good, four)}):
        for data in (b.zip_file(records), b.zip_file(records, alignment=1)):
            yield data[: data.index(b"PK\1\2") + 20]
            yield data[: len(data) // 2]
    yield b.zip_checkpoint(good, four)[:-60]
    yield from (file[: min(len(file) * part // 8, MOST_BYTES - 1)] for file in others(four["0"]) for part in (3, 5, 7))
    yield from (file.replace(b'"w1"', b'"w1', 1)[: MOST_BYTES - 1] for file in others(four["0"]))
    yield b.legacy_stream(b.pickled(b.tensor((4,), key="0", legacy=True)), four)[:-5]


def others(data: bytes) -> Iterator[bytes]:
    """Whole files of other containers, of two tensors each."""
    names = b.mapped(*((b.text(name), b.text(key) + b"Q") for name, key in (("w0", "1"), ("w1", "2"))))
    tensors = [tar_tensor(1, 11, (4,), (1,)), tar_tensor(2, 12, (2,), (1,), 1)]
    views = b.listed(b.many(b.integer(12), b.integer(11), b.integer(1), b.integer(3)))
    yield torch_tar(b.pickled(names), tensors, [tar_storage(11, data)], views)
    yield b.safetensors_file(
        {name: b.entry("F32", (4,), at, at + 16) for name, at in (("w0", 0), ("w1", 16))}, data * 2
    )
    config = {name: weight_config(f"weight_{name}", (4,), (1,)) for name in ("w0", "w1")}
    yield exported(config, {f"weight_{name}": data for name in config})


def words() -> Iterator[bytes]:
    """Entries of libFuzzer's dictionary: names that we know, magic bytes, whole opcodes."""
    from ckpt_viewer.unpickle.recipes import RECIPES

    for module, name in RECIPES:
        yield b.name(module, name)
    yield from (
        b"PK\3\4",
        b"PK\1\2",
        b"PK\5\6",
        b"PK\6\6",
        b"PK\6\7",
        b.LEGACY_MAGIC,
        b.HOOKS,
        b"data.pkl",
        b"byteorder",
    )
    yield from (
        b.storage(),
        b.storage(legacy=True),
        b.tensor((2, 2)),
        b.text("storage"),
        b.text("cpu"),
        b"\xff\xff\xff\xff",
    )


def _write(folder: Path) -> Path:
    """Put seeds into the corpus folder, and return the file of the dictionary, which lies beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (folder / f"seed{number:03}").write_bytes(seed)
    dictionary = Path(tempfile.mkdtemp()) / "words.dict"
    lines = ('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in words())
    dictionary.write_text("".join(lines), "ascii")
    return dictionary


def _fuzz(data: bytes) -> None:
    one_input(data)
    gc.collect(0)  # values may hold each other in cycles, and the machine runs with the collector off


def main() -> None:
    """Fuzz until the time is over."""
    import atheris

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--corpus", type=Path, default=Path(tempfile.gettempdir()) / "ckpt_viewer_fuzz")
    options, rest = parser.parse_known_args()
    with atheris.instrument_imports(include=["ckpt_viewer"]):
        import opening  # noqa: F401  imports all that reads
    dictionary = _write(options.corpus)
    limits = [f"-max_len={MOST_BYTES}", f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}"]
    time = f"-max_total_time={round(60 * options.minutes)}"
    places = [f"-dict={dictionary}", f"-artifact_prefix={options.corpus}/", str(options.corpus)]
    atheris.Setup([sys.argv[0], time, *limits, *rest, *places], _fuzz)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
