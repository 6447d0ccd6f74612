"""Names in the tree beside the numbers of an optimizer's state: ``[0]  layer1.weight``. Made once a tree is painted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from ckpt_viewer.core.progress import Context, stepped
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.training_watch import Training, TrainingWatch

if TYPE_CHECKING:
    from ckpt_viewer.gui.session import Session
    from ckpt_viewer.gui.tree import TreeIndex
    from ckpt_viewer.gui.tree.widget import TreePanel


class JoinedNames(QObject):
    """Between what is known of the training and the tree."""

    def __init__(self, session: Session, tree: TreePanel) -> None:
        super().__init__(tree)
        self._session, self._tree = session, tree
        self._watch = TrainingWatch.of(session)
        self._naming = Latest(session.jobs, self)
        self._naming.finished.connect(self._show)
        self._watch.ready.connect(self._name)
        session.indexed.connect(self._name)

    def _name(self) -> None:
        index, training = self._session.index, self._watch.training
        if index is not None and training is not None and training.by_state:
            self._naming.start(lambda context: (index, names_of(index, training, context)))

    def _show(self, found: tuple[TreeIndex, dict[int, str]]) -> None:
        index, names = found
        if index is self._session.index and names:
            index.notes.update(names)
            self._tree.remark()


def names_of(index: TreeIndex, training: Training, context: Context) -> dict[int, str]:
    """Return row of the tree -> name of the parameter whose state it is; raises Cancelled."""
    found = {}
    for row, link in stepped(training.by_state.items(), context, len(training.by_state)):
        weight, name = link.joined.weight, str(index.outline.steps[row])
        if weight is not None and weight.name != name:
            found[index.rows[row]] = weight.name if link.joined.sure else f"{weight.name} (a guess)"
    return found
