"""The table of calls that we can describe, and of objects whose state we can read.

``RECIPES[(module, name)]`` is a function of ours that returns a record for a call of that name. Nothing is imported or called
under the name itself. Recipes of tensors are in `recipes_torch`, of Python's and numpy's values in `recipes_plain`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckpt_viewer.unpickle import recipes_plain, recipes_torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from ckpt_viewer.core.value import Value
    from ckpt_viewer.unpickle.machine import Machine, Recipe

RECIPES: dict[tuple[str, str], Recipe] = {**recipes_plain.RECIPES, **recipes_torch.RECIPES}
"""(module, name) -> recipe."""

CONSTANTS = recipes_torch.CONSTANTS

BUILDERS: dict[str, Callable[[Machine, Value, Value], bool]] = {
    "TensorSpec": recipes_torch.build_tensor,
    "NdArray": recipes_plain.build_ndarray,
    "Literal": recipes_plain.build_literal,
}
"""Class name of a record -> function that takes its pickled state; False if the state is of no known form."""
