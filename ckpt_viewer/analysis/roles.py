"""Which entry is the model, the optimizer, the lr_scheduler, the progress: structure first, the key's name second.

FORMATS section 5.4. `role_rules` judges single entries; here the whole file is gone through, models are told from their
averaged copies, and what a user said of a file has the last word.
"""

from __future__ import annotations

from collections.abc import Mapping as Given
from collections.abc import Sequence

from ckpt_viewer.analysis.role_rules import CHOSEN, GIVEN, GUESSED, LIKELY, Role, role_of, tensor_role, words_of
from ckpt_viewer.core.model import MODEL_KEYS, Model, find_models, is_optimizer_state
from ckpt_viewer.core.outline import Outline
from ckpt_viewer.core.path import Path, step_text
from ckpt_viewer.core.progress import EVERY, SILENT, Context
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.value import Instance, Mapping, Value

FOLDER = "folder"
"""Type of the dict that stands for a folder of files."""
NEAR_ROOT = 3
"""Entries deeper than this are parts of something, not roles of their own."""
NAMED = 2
"""Entries deeper than this have no role because of their name alone."""
LEAF_ROOTS = frozenset({"optimizer", "lr_scheduler", "scaler", "rng"})
"""Roles of a whole file whose entries have none of their own."""


def find_roles(
    outline: Outline,
    models: Sequence[Model] | None = None,
    context: Context = SILENT,
    given: Given[int, str] | None = None,
) -> dict[int, Role]:
    """Return the role of each row that has one, in the order of the file.

    Args:
        models: the outline's, where they are known already.
        given: row -> role that the user chose for it (`core.model.ROLES`), over what is found here.
    """
    roles: dict[int, Role] = {}
    for model in find_models(outline, context) if models is None else models:
        roles[model.row] = _model_role(outline, model)
    row, count = 0, len(outline)
    while row < count:
        if row % EVERY == 0:
            context.step(row, count)
        kind = type(outline.values[row])
        if kind is TensorSpec:
            if 0 not in roles:  # in a file that is a model, or another thing as a whole, tensors have no roles
                _note_tensor(outline, row, roles)
            row = outline.ends[row]
            continue
        if type(outline.steps[row]) is not str and outline.ends[row] == row + 1:
            row += 1  # a member of a list with nothing in it, of which there may be millions
            continue
        row = _visit(outline, row, roles)
    _find_copies(outline, roles)
    if given:
        _correct(roles, given)
    return dict(sorted(roles.items()))


def _visit(outline: Outline, row: int, roles: dict[int, Role]) -> int:
    """Give a row its role and return the next row to look at."""
    inside = row in roles and row > 0
    role = roles.get(row) or _role(outline, row)
    if role is not None:
        roles[row] = role
        # what lies inside of something recognised has no role of its own, but for mmengine's meta
        inside = inside or (row > 0 and outline.steps[row] != "meta") or role.name in LEAF_ROOTS
    deep = row > 0 and depth_of(outline, row) >= NEAR_ROOT
    return outline.ends[row] if inside or deep else row + 1


def _note_tensor(outline: Outline, row: int, roles: dict[int, Role]) -> None:
    tensor = outline.values[row]
    assert isinstance(tensor, TensorSpec)
    if row and tensor.shape is not None and len(tensor.shape) < 2 and row not in outline.aliases and 0 not in roles:
        role = tensor_role(tensor, step_text(outline.steps[row]))
        if role is not None and (role.name == "rng" or depth_of(outline, row) <= NAMED):
            roles[row] = role


def depth_of(outline: Outline, row: int) -> int:
    """Return how many containers an entry is in; folders do not count, since each file has a root of its own."""
    depth = 0
    while row > 0:
        row = outline.parents[row]
        above = outline.values[row]
        depth += not _is_folder(above)
    return depth


def _model_role(outline: Outline, model: Model) -> Role:
    value = outline.values[model.row]
    what = value.type.rpartition(".")[2] if model.kind == "module" and isinstance(value, Instance) else ""
    what = what or rank_of(outline, model.row)
    reason = "a pickled nn.Module" if model.kind == "module" else "names to tensors, as state_dict() gives"
    if not model.ema:
        return Role("model", what, reason)
    return Role("ema", what, f"{reason}; averaged, as its name or its n_averaged says", LIKELY)


def rank_of(outline: Outline, row: int) -> str:
    """Return which rank's part an entry is, by the folder that its file lies in; ``""`` where none tells."""
    if not _is_folder(outline.values[0]):
        return ""
    from ckpt_viewer.formats.siblings import is_rank_folder, rank_text  # few files need it

    for step in outline.path(row):
        if type(step) is str and is_rank_folder(step):
            return f"part of rank {rank_text(step)}"
    return ""


def _is_folder(value: Value) -> bool:
    return isinstance(value, Mapping) and value.type == FOLDER


def _role(outline: Outline, row: int) -> Role | None:
    if row in outline.aliases:
        return None
    role = role_of(outline.values[row], step_text(outline.steps[row]), row > 0 and depth_of(outline, row) <= NAMED)
    return None if role is not None and row == 0 and role.name == "progress" else role


# --- averaged copies ----------------------------------------------------------------------------------------------


def _find_copies(outline: Outline, roles: dict[int, Role]) -> None:
    """Call a second model of the same names and shapes an averaged copy, where an optimizer trains only one of them."""
    rows = [row for row, role in roles.items() if role.name == "model" and isinstance(outline.values[row], Mapping)]
    if len(rows) != 2 or any(role.name == "ema" for role in roles.values()):
        return
    first, second = (outline.values[row] for row in rows)
    assert isinstance(first, Mapping)
    assert isinstance(second, Mapping)
    if words_of(step_text(outline.steps[rows[1]])) & MODEL_KEYS or len(first) != len(second):
        return
    trained = [_trained(outline, row) for row, role in roles.items() if role.name == "optimizer"]
    if len(trained) == 1 and 0 < trained[0] <= len(first) and _shapes(first) == _shapes(second):
        roles[rows[1]] = Role("ema", "", "the names and shapes of the other model, and no optimizer for it", GUESSED)


def _trained(outline: Outline, row: int) -> int:
    """Return how many parameters an optimizer has."""
    value = outline.values[row]
    groups = value.get("param_groups") if isinstance(value, Mapping) and is_optimizer_state(value) else None
    if not isinstance(groups, list):
        return 0
    members = (group.get("params") for group in groups if isinstance(group, Mapping))
    return sum(len(each) for each in members if isinstance(each, list))


def _shapes(model: Mapping) -> dict[str, object]:
    return {key: getattr(value, "shape", None) for key, value in model.string_items().items()}


# --- what the user said -------------------------------------------------------------------------------------------


def _correct(roles: dict[int, Role], given: Given[int, str]) -> None:
    """Put the roles that a user chose over those that were found."""
    for row, name in given.items():
        if name == "none":
            roles.pop(row, None)
        else:
            old = roles.get(row)
            detail = old.detail if old is not None and old.name == name else ""
            roles[row] = Role(name, detail, CHOSEN, GIVEN)


def role_paths(outline: Outline, roles: dict[int, Role]) -> dict[str, list[Path]]:
    """Return role name -> paths, in file order."""
    result: dict[str, list[Path]] = {}
    for row, role in roles.items():
        result.setdefault(role.name, []).append(outline.path(row))
    return result
