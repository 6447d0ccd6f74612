"""Bring PySide into the process without three things that it does at every start and need not.

* It compiles fourteen modules of its own, which come as text within a library: 30 ms. Their bytecode is kept beside
  that of this module, in the same form (PEP 3147), and is made anew when the text is another.
* It puts an import statement of its own in place of Python's, which looks for ``from __feature__ import ...`` and reads
  the source of each module that imports another one: 20 ms, for a feature that nothing here uses.
* It makes ready to write stubs of itself (``.pyi``), with patterns that take 15 ms to compile. That module comes once
  something of it is asked for.
"""

from __future__ import annotations

import builtins
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

FOLDER = Path(__file__).parent
"""No source of these modules lies here, only the bytecode, in Python's folder for it."""
NAMES = ("signature_bootstrap.py", "shibokensupport/")
"""What PySide calls the texts that it compiles; of the second there are several in a folder."""
LOADER, STUB_WRITER = "shibokensupport/signature/loader.py", "shibokensupport.signature.lib.pyi_generator"
"""The text that imports all others, and the module that it puts into a package and leaves there."""


class LateModule(ModuleType):
    """A module that is executed when something of it is asked for.

    Args:
        spec: where it comes from.
    """

    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__(spec.name)
        self.__spec__ = spec
        self._name, self._loader = spec.name, spec.loader  # PySide renames it

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # what the import system asks of any module
            raise AttributeError(attribute)
        genuine = module_from_spec(ModuleSpec(self._name, self._loader))
        assert self._loader is not None
        self._loader.exec_module(genuine)
        self.__dict__.update({name: each for name, each in vars(genuine).items() if not name.startswith("__")})
        return getattr(genuine, attribute)


class Text(SourceFileLoader):
    """The source of a module that is no file; `get_code` compiles it, or takes the bytecode that an earlier start left.

    Args:
        name: what the module's library calls it, such as ``"shibokensupport/feature.py"``.
        source: its text. translate: what compiles it.
    """

    def __init__(self, name: str, source: bytes, translate: Callable[..., CodeType]) -> None:
        super().__init__(name, str(FOLDER / name.replace("/", ".")))
        self._source, self._translate = source, translate

    def path_stats(self, path: Any) -> dict[str, int]:
        """Return what the bytecode must agree with: a checksum of the text, and its length in bytes."""
        del path
        return {"mtime": zlib.crc32(self._source), "size": len(self._source)}

    def get_data(self, path: Any) -> bytes:
        """Return the text, or the content of a file of bytecode; raises OSError."""
        return self._source if path == self.path else super().get_data(path)

    def source_to_code(  # type: ignore[override]  # typeshed has the static one of its base
        self, data: Any, path: Any, *, _optimize: int = -1
    ) -> CodeType:
        """Compile the text."""
        return self._translate(data, path, "exec", dont_inherit=True, optimize=_optimize)


def bring_qt() -> None:
    """Import PySide6.QtCore, and give Python its own functions back."""
    if "PySide6.QtCore" in sys.modules:
        return
    genuine_import, genuine_compile = builtins.__import__, builtins.compile

    def compile_or_recall(source: Any, filename: Any, mode: str, *args: Any, **options: Any) -> Any:
        if filename == LOADER:
            _put_off_stubs()
        if mode == "exec" and type(source) is bytes and str(filename).startswith(NAMES) and not (args or options):
            with suppress(EOFError, ValueError, TypeError):  # bytecode that a failing disk cut off
                return Text(filename, source, genuine_compile).get_code(filename)
        return genuine_compile(source, filename, mode, *args, **options)

    builtins.compile = compile_or_recall
    try:
        from PySide6 import QtCore  # noqa: F401
    finally:
        builtins.__import__, builtins.compile = genuine_import, genuine_compile


def _put_off_stubs() -> None:
    spec = find_spec(STUB_WRITER)
    if spec is not None:
        sys.modules[STUB_WRITER] = LateModule(spec)
