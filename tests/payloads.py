"""Pickles that would create a file if anything in them were run. Each is proved to do so in `test_attacks`."""

from __future__ import annotations

import struct
from collections.abc import Callable

from builders import call, legacy_stream, listed, many, mapped, name, pickled, put, text, zip_checkpoint

NAMESPACE = name("argparse", "Namespace") + b")\x81"


def command(canary: str) -> bytes:
    return text(f"echo x > '{canary}'")


def code(canary: str) -> bytes:
    return text(f"open({canary!r}, 'w').close()")


def _system(module: str = "os", attribute: str = "system") -> Callable[[str], bytes]:
    return lambda canary: call(name(module, attribute), command(canary))


def _getattr_chain(canary: str) -> bytes:
    module = call(name("builtins", "__import__"), text("os"))
    return call(call(name("builtins", "getattr"), module, text("system")), command(canary))


def _setstate(canary: str) -> bytes:
    """An attribute __setstate__ is set by one BUILD and called by the next."""
    return NAMESPACE + mapped((text("__setstate__"), name("os", "system"))) + b"b" + command(canary) + b"b"


def _append(canary: str) -> bytes:
    return NAMESPACE + mapped((text("append"), name("os", "system"))) + b"b" + command(canary) + b"a"


def _newobj_ex(canary: str) -> bytes:
    """bytes.__new__ goes through a map, which calls."""
    lazy = name("builtins", "map") + many(name("os", "system"), listed(command(canary))) + b"}\x92"
    return name("builtins", "bytes") + many(lazy) + b"}\x92"


def _newobj(canary: str) -> bytes:
    lazy = name("builtins", "map") + many(name("os", "system"), listed(command(canary))) + b"\x81"
    return name("builtins", "bytes") + many(lazy) + b"\x81"


def _extension(canary: str) -> bytes:
    register = call(name("copyreg", "add_extension"), text("os"), text("system"), b"K\xf0")
    return register + b"0" + call(b"\x82\xf0", command(canary))


def _reconstructor(canary: str) -> bytes:
    popen = name("subprocess", "Popen")
    return call(name("copyreg", "_reconstructor"), popen, popen, listed(text("touch"), text(canary)))


def _inner_pickle(canary: str) -> bytes:
    inner = pickled(_system()(canary))
    return call(name("pickle", "loads"), b"B" + struct.pack("<I", len(inner)) + inner)


def _nested_stream(canary: str) -> bytes:
    inner = legacy_stream(pickled(_system()(canary)))
    return call(name("torch.storage", "_load_from_bytes"), b"B" + struct.pack("<I", len(inner)) + inner)


def _computed_name(canary: str) -> bytes:
    """The name is what a call returns, so that nobody can read it off."""
    return call(text("os") + call(name("builtins", "str"), text("system")) + b"\x93", command(canary))


def _name_from_memo(canary: str) -> bytes:
    first = text("system") + put(1) + b"0" + text("os") + put(0) + b"0"
    return first + call(b"h\x00h\x01\x93", command(canary))


def _popped(canary: str) -> bytes:
    return _system()(canary) + b"0" + mapped((text("epoch"), b"K\x03"))


def _methodcaller(canary: str) -> bytes:
    module = call(name("builtins", "__import__"), text("os"))
    return call(call(name("operator", "methodcaller"), text("system"), command(canary)), module)


def _text_protocol(canary: str) -> bytes:
    return b"cos\nsystem\n(S'echo x > \"" + canary.encode() + b"\"'\ntR"


PAYLOADS: dict[str, tuple[int, str, Callable[[str], bytes]]] = {
    "os.system": (2, "os.system", _system()),
    "posix.system": (2, "posix.system", _system("posix")),
    "eval": (2, "builtins.eval", lambda canary: call(name("__builtin__", "eval"), code(canary))),
    "exec": (2, "builtins.exec", lambda canary: call(name("builtins", "exec"), code(canary))),
    "getattr chain": (2, "builtins.getattr", _getattr_chain),
    "STACK_GLOBAL": (4, "os.system", lambda canary: call(text("os") + text("system") + b"\x93", command(canary))),
    "STACK_GLOBAL from the memo": (4, "os.system", _name_from_memo),
    "STACK_GLOBAL computed": (4, "pickle.STACK_GLOBAL", _computed_name),
    "dotted name": (4, "shutil.os.system", _system("shutil", "os.system")),
    "INST": (2, "os.system", lambda canary: b"(" + command(canary) + b"ios\nsystem\n"),
    "OBJ": (2, "os.system", lambda canary: b"(" + name("os", "system") + command(canary) + b"o"),
    "NEWOBJ": (2, "os.system", _newobj),
    "NEWOBJ_EX": (4, "builtins.map", _newobj_ex),
    "EXT1": (2, "copyreg.add_extension", _extension),
    "__setstate__": (2, "os.system", _setstate),
    "APPEND": (2, "os.system", _append),
    "copyreg._reconstructor": (2, "subprocess.Popen", _reconstructor),
    "pickle.loads": (3, "pickle.loads", _inner_pickle),
    "methodcaller": (2, "operator.methodcaller", _methodcaller),
    "result thrown away": (2, "os.system", _popped),
    "protocol 0": (0, "os.system", _text_protocol),
    "_load_from_bytes": (3, "os.system", _nested_stream),
}
"""Name -> protocol, a global that must be called dangerous, and the opcodes for a canary's path."""


def containers(pickle: bytes) -> dict[str, bytes]:
    """The same pickle as a file of its own and in both containers of torch."""
    return {"raw": pickle, "zip": zip_checkpoint(pickle), "legacy": legacy_stream(pickle)}
