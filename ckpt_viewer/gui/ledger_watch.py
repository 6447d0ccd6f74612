"""The window's knowledge of storages: the ledger and the maps of all bytes, worked out when they are first shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ckpt_viewer.gui.watch import Watch

if TYPE_CHECKING:
    from ckpt_viewer.analysis.byte_map import Maps
    from ckpt_viewer.analysis.ledger import Ledger
    from ckpt_viewer.analysis.overview import Overview
    from ckpt_viewer.core.progress import Context


class Accounts(NamedTuple):
    """What is known.

    Attributes:
        book: the ledger. maps: of all files. numbers: id of a StorageSpec -> its line.
    """

    book: Ledger
    maps: Maps
    numbers: Mapping[int, int]


class LedgerWatch(Watch):
    """Works it out once the file is described: roles are needed for the colours."""

    title = "Adding up the storages"

    def source(self) -> Any:
        """The overview."""
        return self._session.overview

    def work(self, source: Overview, context: Context) -> Accounts:
        """Go through all entries, and look where every storage lies."""
        from ckpt_viewer.analysis.byte_layout import byte_maps
        from ckpt_viewer.analysis.ledger import ledger
        from ckpt_viewer.core.progress import Phase

        checkpoint = self._session.checkpoint
        assert checkpoint is not None
        book = ledger(checkpoint, source.role_rows, Phase(context, 0, 2))
        numbers = {id(line.storage): number for number, line in enumerate(book.lines)}
        return Accounts(book, byte_maps(checkpoint, book, Phase(context, 1, 2)), numbers)

    @property
    def accounts(self) -> Accounts | None:
        """What is known; None until `ready`. Asking starts the work."""
        answer: Accounts | None = self.answer
        return answer
