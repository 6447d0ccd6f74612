"""The ``_metadata`` of a state_dict (versions of its modules) after entries were left out or got other names."""

from __future__ import annotations

from collections.abc import Sequence

from ckpt_viewer.core.progress import SILENT, Context, stepped
from ckpt_viewer.core.value import Mapping, Value
from ckpt_viewer.export.naming import Naming, above


def new_metadata(
    metadata: Value, names: Sequence[str], kept: Sequence[str], naming: Naming, context: Context = SILENT
) -> Value:
    """Return the mapping of module -> versions under the new names; as it is where it is none.

    A module without entries of its own (an activation) stays with the module that it lies in.

    Args:
        names: of all entries there were. kept: of those that are exported. Old names, both.

    Raises:
        Cancelled: by `context`.
    """
    if not isinstance(metadata, Mapping):
        return metadata
    before, after = above(stepped(names, context)), above(stepped(kept, context))
    if before == after and not naming.changes:
        return metadata
    found: dict[str, tuple[int, Value]] = {}
    new_modules = above(naming.name(name) for name in stepped(kept, context))
    for old, versions in metadata.string_items().items():
        new = naming.module(old)
        stays = _nearest(old, before) in after and (old not in before or new in new_modules)
        if stays and len(old) >= found.get(new, (0, None))[0]:  # a wrapper gives way to what it wraps
            found[new] = (len(old), versions)
    made = Mapping(metadata.type)
    for new, (_, versions) in found.items():
        made.pairs += (new, versions)
    return made


def _nearest(module: str, known: set[str]) -> str:
    while module not in known:
        module = module.rpartition(".")[0]
    return module
