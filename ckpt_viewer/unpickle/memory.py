"""Stack and memo of the pickle machine."""

from __future__ import annotations

from ckpt_viewer.core.value import Global, Value
from ckpt_viewer.errors import Damaged
from ckpt_viewer.unpickle.budget import COST
from ckpt_viewer.unpickle.fastmany import Many
from ckpt_viewer.unpickle.fastpath import SKIPPED, Pattern, SkippedSlot
from ckpt_viewer.unpickle.fastrun import Layouts


class Memory:
    """What a pickle works on.

    Attributes:
        charged: bytes that its objects were charged with.
        stack: values above the last MARK. metastack: the stacks below the MARKs before. memo, far_memo: see `put`.
        seen_names, seen_numbers, layouts, many: what the shortcut for tensors has met; changed slots make it forget.
        stated: the last protocol stated in this pickle, which decides how names are spelled.
    """

    charged = 0

    def reset(self) -> None:
        """Forget stack and memo, as between two pickles of one stream."""
        self.stated = 0
        self.stack: list[Value] = []
        self.metastack: list[list[Value]] = []
        self.memo: list[Value] = []
        self.far_memo: dict[int, Value] = {}
        self.seen_names: dict[tuple[bytes, ...], tuple[Global, str]] = {}
        self.seen_numbers: dict[tuple[bytes, ...], Pattern] = {}
        self.layouts = Layouts()
        self.many: Many | None = None

    # Memo slots: a list while they come in turn, as all real writers number them; a dict for the rest, so that a huge
    # index costs nothing.

    def put(self, index: int, value: Value) -> None:
        """Store in a memo slot."""
        memo = self.memo
        if index == len(memo):
            memo.append(value)
            if self.far_memo:
                self.far_memo.pop(index, None)
        elif index < len(memo):
            memo[index] = value
            self.seen_names.clear()
            self.seen_numbers.clear()
            self.layouts.clear()
        else:
            self.charged += COST["set"]
            self.far_memo[index] = value

    def get(self, index: int) -> Value:
        """Read a memo slot; raises Damaged if it was never filled."""
        if 0 <= index < len(self.memo):
            value = self.memo[index]
            if value is SKIPPED:
                raise SkippedSlot
            return value
        if index in self.far_memo:
            return self.far_memo[index]
        raise Damaged(f"the pickle is damaged: it reads memo slot {index}, which was never written")

    def pop_mark(self) -> list[Value]:
        """Return everything above the last MARK and go back to the stack below it."""
        items = self.stack
        if not self.metastack:
            raise Damaged("the pickle is damaged: it closes a group that was never opened")
        self.stack = self.metastack.pop()
        self.charged -= COST["mark"]
        return items
