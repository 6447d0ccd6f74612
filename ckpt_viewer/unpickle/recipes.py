"""The table of calls that we can describe, and of objects whose state we can read.

``RECIPES[(module, name)]`` is a function of ours that returns a record for a call of that name. Nothing is imported or
called under the name itself. Tensors are in `recipes_torch` and `recipes_composite`, Python's and numpy's values in
`recipes_plain`, the rest in `recipes_objects`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckpt_viewer.unpickle import recipes_composite, recipes_objects, recipes_plain, recipes_torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from ckpt_viewer.core.value import Value
    from ckpt_viewer.unpickle.machine import Machine, Recipe

RECIPES: dict[tuple[str, str], Recipe] = {
    **recipes_plain.RECIPES,
    **recipes_torch.RECIPES,
    **recipes_composite.RECIPES,
    **recipes_objects.RECIPES,
}
"""(module, name) -> recipe."""

CONSTANTS = recipes_torch.CONSTANTS

BUILDERS: dict[str, Callable[[Machine, Value, Value], bool]] = {
    "Instance": recipes_objects.build_optimizer,
    "TensorSpec": recipes_torch.build_tensor,
    "NdArray": recipes_plain.build_ndarray,
    "Literal": recipes_objects.build_literal,
}
"""Class name of a record -> function that takes its pickled state; False if the state is of no known form."""
