"""The window's knowledge of which entries share a storage: worked out once for each checkpoint, in a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ckpt_viewer.gui.panels.sharing import Sharing, find_sharing
from ckpt_viewer.gui.watch import Watch

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.core.progress import Context


class SharingWatch(Watch):
    """Knows which entries share a storage."""

    def source(self) -> Any:
        """The checkpoint."""
        return self._session.checkpoint

    def work(self, source: Checkpoint, context: Context) -> Sharing:
        """Go through all entries."""
        return find_sharing(source.load_outline(context), context)

    @property
    def sharing(self) -> Sharing | None:
        """What is known; None until `ready`. Asking starts the work."""
        answer: Sharing | None = self.answer
        return answer
