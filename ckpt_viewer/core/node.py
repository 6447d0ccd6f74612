"""One place in a checkpoint: what a Python caller, a panel or a command is handed."""

from __future__ import annotations

import sys
from collections.abc import Set
from itertools import islice
from typing import TYPE_CHECKING

from ckpt_viewer.core import expand
from ckpt_viewer.core.path import Path, Step, escape_token, is_printed_as, split_pointer, step_text, unescape_token
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.value import Value
from ckpt_viewer.errors import CheckpointError, NoSuchNode

if TYPE_CHECKING:
    from typing import Any

    from ckpt_viewer.core.checkpoint import Checkpoint


class Node:
    """A value at a path of a checkpoint. Cheap; made when asked for, children too.

    Attributes:
        checkpoint: whose bytes and map_location it uses.
        parent: None for the root. step: from the parent; ``""`` for the root.
        index: position among its siblings. value: the neutral value.
    """

    __slots__ = ("checkpoint", "index", "parent", "step", "value")

    def __init__(
        self, checkpoint: Checkpoint, value: Value, parent: Node | None = None, step: Step = "", index: int = 0
    ) -> None:
        self.checkpoint, self.value, self.parent, self.step, self.index = checkpoint, value, parent, step, index

    @property
    def kind(self) -> str:
        """dict list tuple set object tensor storage ndarray str int float bool none bytes dtype device global."""
        return expand.kind_of(self.value)

    @property
    def type(self) -> str:
        """Class as in the file; plain types bare."""
        return expand.type_of(self.value)

    @property
    def length(self) -> int | None:
        """Members of a container, else None."""
        return expand.length_of(self.value)

    @property
    def name(self) -> str:
        """The step from the parent, as text."""
        return step_text(self.step)

    @property
    def children(self) -> list[Node]:
        """Everything directly below, in file order."""
        below = expand.children(self.value)
        return [Node(self.checkpoint, value, self, step, index) for index, (step, value) in enumerate(below)]

    @property
    def path(self) -> Path:
        """Steps from the root."""
        steps: list[Step] = []
        node: Node | None = self
        while node is not None and node.parent is not None:
            steps.append(node.step)
            node = node.parent
        return tuple(reversed(steps))

    @property
    def pointer(self) -> str:
        """The path as a JSON Pointer that resolves to this very node."""
        tokens: list[str] = []
        node: Node | None = self
        while node is not None and node.parent is not None:
            tokens.append(_token(node))
            node = node.parent
        return "".join("/" + token for token in reversed(tokens))

    def child(self, token: str) -> Node:
        """Return the child that one escaped pointer token names: the string key, failing that the integer, failing that
        the string key that is printed so, its control characters escaped.

        Raises:
            NoSuchNode: there is none.
        """
        found: tuple[int, tuple[Step, Value]] | None
        if token.startswith("~2") and token[2:].isascii() and token[2:].isdigit():
            index = int(token[2:]) if len(token) < 20 else sys.maxsize
            found = next(islice(enumerate(expand.children(self.value)), index, None), None)
        else:
            text = unescape_token(token)
            named = (
                each
                for wanted in (str, int)
                for each in enumerate(expand.children(self.value))
                if type(each[1][0]) is wanted and str(each[1][0]) == text
            )
            found = next(named, None)
            if found is None and "\\" in text:
                below = enumerate(expand.children(self.value))
                found = next((each for each in below if is_printed_as(each[1][0], text)), None)
        if found is not None:
            return Node(self.checkpoint, found[1][1], self, found[1][0], found[0])
        raise NoSuchNode(f"there is no {token!r} below {self.pointer or 'the root'}; `ls` lists what there is")

    def find(self, pointer: str) -> Node:
        """Return the node that `pointer` leads to from here; raises NoSuchNode."""
        node = self
        for token in split_pointer(pointer):
            node = node.child(token)
        return node

    __getitem__ = find

    @property
    def tensor(self) -> TensorSpec:
        """The tensor at this node; raises CheckpointError if it is none."""
        if not isinstance(self.value, TensorSpec):
            what = f"{'an' if self.kind[0] in 'aeiou' else 'a'} {self.kind}" if self.kind != "none" else "None"
            raise CheckpointError(f"{self.pointer or 'the root'} is no tensor but {what}; choose a tensor")
        return self.value

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Sizes in elements; None for a nested or uninitialised tensor."""
        return self.tensor.shape

    @property
    def stride(self) -> tuple[int, ...] | None:
        """Strides in elements."""
        return self.tensor.stride

    @property
    def dtype(self) -> str:
        """Name without ``torch.``."""
        return self.tensor.dtype

    @property
    def numel(self) -> int:
        """Number of elements."""
        return self.tensor.numel

    @property
    def nbytes(self) -> int:
        """Bytes that the elements take."""
        return self.tensor.nbytes

    @property
    def storage(self) -> StorageSpec | None:
        """The storage that is viewed."""
        return self.tensor.storage

    @property
    def requires_grad(self) -> bool:
        """As saved."""
        return self.tensor.requires_grad

    @property
    def location(self) -> str | None:
        """Device tag as saved."""
        return self.tensor.location

    @property
    def device(self) -> str:
        """The tag that map_location makes of `location`."""
        return self.checkpoint.locator.tensor(self.tensor)

    def numpy(self, *, copy: bool = False) -> Any:
        """Return the values as a numpy.ndarray of the tensor's shape.

        Without `copy` it is a read-only map of the file where layout and dtype allow; such an array dies with the file
        (SIGBUS if another program truncates it).

        Raises:
            CheckpointError: no dense values (sparse, nested, meta), or the bytes cannot be read.
        """
        from ckpt_viewer.core.decode import to_numpy

        return to_numpy(self.tensor, copy=copy)

    def torch(self) -> Any:
        """Return a torch.Tensor on the mapped device, made from a copy of the bytes; raises as `numpy` does."""
        from ckpt_viewer.torch_bridge import to_torch

        return to_torch(self.tensor, self.device)

    def __repr__(self) -> str:
        return f"<Node {self.pointer or '(root)'}: {self.kind} {self.type}>"


def places_below(base: Node, tensors: Set[int]) -> dict[int, Node]:
    """Return the ``id`` of each of the `tensors` that is listed at or below `base` -> the node of its first place."""
    outline = base.checkpoint.outline
    top = outline.find(base.path) or 0
    nodes, below, found = {top: base}, dict[int, dict[tuple[type, Step], Node]](), dict[int, Node]()

    def at(row: int) -> Node:
        if row not in nodes:
            parent = outline.parents[row]
            if parent not in below:
                below[parent] = {(type(child.step), child.step): child for child in at(parent).children}
            step = outline.steps[row]
            nodes[row] = below[parent][type(step), step]
        return nodes[row]

    for row in range(top, outline.ends[top]):
        key = id(outline.values[row])
        if key in tensors and key not in found:
            found[key] = at(row)
    return found


def _token(node: Node) -> str:
    parent = node.parent
    assert parent is not None
    if type(node.step) is str:
        return escape_token(node.step)
    if type(node.step) is int:
        text = str(node.step)
        if isinstance(parent.value, list | tuple) or not any(
            step == text for step, _ in expand.children(parent.value) if type(step) is str
        ):
            return text
    return f"~2{node.index}"
