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


def said_of_metadata(metadata: Value, where: str) -> list[str]:
    """Say what is lost with ``_metadata`` in a target that has no place for it; a sentence, or none.

    Versions alone are not worth one: torch takes a module without its version for an old one, and then adds what old
    ones did not save (BatchNorm's ``num_batches_tracked``) only where it is not there. Other things that are noted
    there do matter: without those of ``spectral_norm`` its weights are taken for others.

    Args:
        where: that target, as in ``"a safetensors file"``.
    """
    if metadata is None:
        return []
    members = metadata.string_items().values() if isinstance(metadata, Mapping) else (metadata,)
    if all(isinstance(each, Mapping) and set(each.pairs[::2]) <= {"version"} for each in members):
        return []
    return [f"_metadata (what the modules noted for loading) has no place in {where} and is left out"]


def _nearest(module: str, known: set[str]) -> str:
    while module not in known:
        module = module.rpartition(".")[0]
    return module
