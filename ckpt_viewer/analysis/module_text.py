"""A whole module as lines of text, as ``print(model)`` would show it with its classes at hand."""

from __future__ import annotations

from collections.abc import Iterator

from ckpt_viewer.analysis.module_tree import MODULE, PARAMETER, Line, ModuleTree
from ckpt_viewer.core.text import counted, shape_text


def module_lines(tree: ModuleTree) -> Iterator[str]:
    """Yield a line for each module and tensor, unescaped, then what is missing in it."""
    yield (
        f"{tree.lines[0].type}, a whole module: {counted(tree.modules, 'module')}, "
        f"{counted(tree.parameters[0], 'parameter')}, {counted(tree.buffers[0], 'number')} in buffers, "
        f"{counted(tree.hooks, 'hook')}"
    )
    for line in tree.lines[1:]:
        yield f"{'  ' * line.depth}{line.name}  {_described(line)}"
    yield from (f"note: {note}" for note in tree.notes)
    for name, source in tree.sources.items():
        yield f"source of {name}: {source.file}, {len(source.text)} characters"


def _described(line: Line) -> str:
    if line.tensor is not None:
        kind = ("" if line.kind == PARAMETER else f"  {line.kind}") + ("" if line.saved else ", in no state_dict")
        return f"{shape_text(line.tensor.shape, 'x')} {line.tensor.dtype}{kind}"
    assert line.kind == MODULE
    if line.same_as is not None:
        return f"{line.type}, the same as an earlier one"
    mode = ", eval mode" if line.training is False else ""
    hooks = "".join(f", {hook}" for hook in line.hooks)
    return f"{line.type}({line.settings}){mode}{hooks}"
