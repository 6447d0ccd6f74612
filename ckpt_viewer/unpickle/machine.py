"""A pickle machine that builds records instead of objects.

Every opcode of protocols 0 to 5 is understood. A GLOBAL becomes an inert `Global`; a REDUCE of one is answered by a
recipe (a function of ours that returns a record) or kept as an `Instance` that names what would have been called.

`pickle.Unpickler` with a strict `find_class` would not do: it allocates gigabytes for a memo slot of nine bytes, and it
really calls what it lets through. Source for the opcodes: CPython's pickletools.
"""

from __future__ import annotations

import gc
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from ckpt_viewer.core.finding import Note
from ckpt_viewer.core.progress import SILENT, Context, drain
from ckpt_viewer.core.tensor import StorageHome, StorageSpec, TensorSpec
from ckpt_viewer.core.value import Global, Instance, Literal, Mapping, NdArray, Sequence, Value
from ckpt_viewer.errors import Damaged, OverBudget, Truncated
from ckpt_viewer.unpickle.budget import COST, Budget
from ckpt_viewer.unpickle.fastpath import SKIPPED, SkippedSlot
from ckpt_viewer.unpickle.memory import Memory
from ckpt_viewer.unpickle.names import translate_python2
from ckpt_viewer.unpickle.weights_only import BUILT, CALLED, MADE, Refusal, of_name

if TYPE_CHECKING:
    Recipe: TypeAlias = Callable[["Machine", tuple[Value, ...]], "Value | NotKnown"]
    Handler: TypeAlias = Callable[["Machine", int], int]

BURST = range(48)
"""Opcodes between two looks at the meter; about 0.1 ms, so that a waiting window gets its turn."""

MOST_NOTES = 1000
"""Findings of one kind that are told one by one."""
NAME_LIMIT = 4096
"""Characters of a module and a name in it."""


class NotKnown:
    """What a recipe returns when a call does not have the form it knows; the call is then kept as it is."""


NOT_KNOWN = NotKnown()


class Stop(Exception):
    """Carries the position after STOP out of the loop."""

    def __init__(self, position: int) -> None:
        self.position = position


class Machine(Memory):
    """Runs one pickle after another over the same bytes.

    Attributes:
        data: the bytes. position: of the next opcode.
        globals: every name that was referred to, in order of first appearance.
        protocol: the highest protocol stated. stated: the last one in this pickle, which decides how names are spelled.
        named: where each of them stands first, bytes from the start of the data; -1 for one that no opcode spells.
        notes: what was noticed. noted: how often, by code.
        made: by id of a name, how often it was called and what it described first.
        refusal: the first thing that weights_only does not take; None while there is none.
        shortcuts: tensors that were read by the shortcut.
        wrong: why the call that is being described is no tensor; told of what comes out of it.
        raw: bytes behind Python 2 strings that are not ASCII, by id of the string.
        nested: reads a checkpoint that lies inside the pickle as bytes; None if it is none.
        storages, home: of the container: its storages by key, and what holds the bytes of further ones.
        fast_storage, storage_dtype: as `persistent`, for the shortcut; None where that would raise or note something.
        new_storage: makes a storage for (device, dtype, numel, bytes or None) that the container does not have.
        ids_in_calls: whether a storage's persistent id may stand in a call by itself, as some writers of tars left it.
        forget: undoes what the other callbacks have kept, before a pickle is read once more.
    """

    def __init__(
        self,
        data: bytes,
        budget: Budget,
        *,
        recipes: dict[tuple[str, str], Recipe],
        constants: dict[tuple[str, str], Value],
        persistent: Callable[[Machine, Value], Value],
        builders: dict[str, Callable[[Machine, Value, Value], bool]],
        context: Context = SILENT,
        depth: int = 0,
    ) -> None:
        self.data, self.budget, self.context, self.depth = data, budget, context, depth
        self.recipes, self.constants, self.persistent, self.builders = recipes, constants, persistent, builders
        self.shortcut, self.ids_in_calls = True, False
        self.rebuild: Value = SKIPPED
        self.position = self.opcodes = self.charged = self.protocol = self.shortcuts = 0
        self.globals: dict[tuple[str, str], Value] = {}
        self.recipe_of: dict[int, Recipe] = {}
        self.named: dict[tuple[str, str], int] = {}
        self.made: dict[int, tuple[int, Value]] = {}
        self.refusal: Refusal | None = None
        self.wrong = ""
        self.notes: list[Note] = []
        self.noted: dict[str, int] = {}
        self.raw: dict[int, tuple[str, bytes]] = {}
        self.nested: Callable[[bytes], Value]
        self.new_storage: Callable[[str, str, int, bytes | None], StorageSpec]
        self.storages: dict[str, StorageSpec]
        self.home: StorageHome
        self.fast_storage: Callable[[str, str, Global, int, bool], StorageSpec | None]
        self.storage_dtype: Callable[[Global], str | None]
        self.forget: Callable[[], None]
        self.reset()

    def disconnect(self) -> None:
        """Let go of who made this machine, once it has run: the collector, which breaks cycles, may be off."""
        drain(self.memo, self.context)
        del self.persistent, self.nested, self.new_storage, self.fast_storage, self.storage_dtype, self.forget
        del self.storages, self.home

    def run(self, position: int, table: list[Handler]) -> Value:
        """Execute from `position` to STOP and return what is on top of the stack then; `self.position` is behind STOP.

        Raises:
            Truncated: the bytes end first. Damaged: an opcode makes no sense. OverBudget: too much work or memory.
        """
        try:
            return self._run(position, table)
        except SkippedSlot:
            self.shortcut, self.rebuild = False, SKIPPED
            self.notes.clear()
            self.noted.clear()
            self.made.clear()
            self.opcodes = self.charged = self.shortcuts = 0
            self.forget()
            return self._run(position, table)

    def _run(self, position: int, table: list[Handler]) -> Value:
        self.reset()
        data, at = self.data, position
        collecting = gc.isenabled()
        gc.disable()  # a million records without cycles: collecting them takes longer than making them
        try:
            while True:
                for _ in BURST:
                    at = table[data[at]](self, at + 1)
                self.meter(at)
        except Stop as stop:
            self.position = stop.position
            return self.stack[-1]
        except (IndexError, struct.error) as error:
            raise self._broken(at, error) from error
        except (ValueError, TypeError, OverflowError, KeyError, AttributeError) as error:
            raise Damaged(f"the pickle is damaged at byte {at}: opcode {data[at]:#04x} does not fit") from error
        except (MemoryError, RecursionError) as error:
            raise OverBudget("the pickle asks for more memory than there is; it is damaged or hostile") from error
        finally:
            if collecting:
                gc.enable()

    def meter(self, at: int, bursts: int = 1) -> None:
        """Look at the budget after bursts of opcodes, and let others have their turn; raises OverBudget, Cancelled."""
        self.opcodes += bursts * len(BURST)
        self.check_budget()
        self.context.step(at, len(self.data))

    def check_budget(self) -> None:
        """Raise OverBudget once the pickle has cost more than it may."""
        cost = self.charged + self.opcodes * COST["opcode"] + self.shortcuts * COST["tensor"]
        if self.opcodes > self.budget.opcodes or cost > self.budget.memory:
            raise OverBudget(
                f"the pickle asks for more than its {len(self.data)} bytes can justify; it is damaged or hostile"
            )

    def _broken(self, at: int, error: Exception) -> Truncated | Damaged:
        size = len(self.data)
        if at >= size - 9 or isinstance(error, struct.error):
            return Truncated("the pickle", wanted=1, found=0, offset=size)
        return Damaged(f"the pickle is damaged at byte {at}: opcode {self.data[at]:#04x} finds nothing on the stack")

    def need(self, end: int) -> None:
        """Raise Truncated unless the bytes reach to `end`."""
        if end > len(self.data):
            raise Truncated("the pickle", wanted=end - len(self.data), found=0, offset=len(self.data))

    def note(self, severity: str, code: str, value: Value, message: str) -> None:
        """Keep something that was noticed about a value."""
        self.noted[code] = count = self.noted.get(code, 0) + 1
        if count <= MOST_NOTES:
            self.charged += COST["note"] + len(message)
            self.notes.append(Note(severity, code, value, message))

    def all_notes(self) -> list[Note]:
        """Return what was noticed, and how often more than is told."""
        more = ((code, count - MOST_NOTES) for code, count in self.noted.items() if count > MOST_NOTES)
        severity = {note.code: note.severity for note in self.notes}
        return [*self.notes, *(Note(severity[code], code, None, f"the same of {count} more") for code, count in more)]

    def refuse(self, refusal: Refusal | None) -> None:
        """Keep what weights_only does not take; the first one is its answer."""
        if self.refusal is None:
            self.refusal = refusal

    def find_global(self, module: str, name: str, at: int = -1) -> Value:
        """Return the inert record for a name; never looks anything up.

        Args:
            at: where the opcode stands, bytes from the start of the data.
        """
        if len(module) + len(name) > NAME_LIMIT:
            raise Damaged(f"the pickle is damaged: a name of {len(module) + len(name)} characters")
        key = translate_python2(module, name) if self.stated < 3 else (module, name)
        found = self.globals.get(key)
        if found is None:
            found = Global(*key)
            recipe = self.recipes.get(key)
            if recipe is not None:
                self.recipe_of[id(found)] = recipe
                if self.shortcut and key == ("torch._utils", "_rebuild_tensor_v2"):
                    self.rebuild = found
            elif key in self.constants:
                found = self.constants[key]
            self.charged += COST["instance"]
            self.globals[key], self.named[key] = found, at
            self.refuse(of_name(module, name))
        return found

    def call(self, callable: Value, arguments: Value, *, new: bool = False, keywords: Value = None) -> Value:
        """Return what calling would give, if a recipe knows; else an Instance that names the call."""
        if type(arguments) is not tuple:
            if not isinstance(arguments, Sequence | list):
                raise Damaged("the pickle is damaged: a call without a tuple of arguments")
            arguments = tuple(arguments.items if isinstance(arguments, Sequence) else arguments)
            self.charged += 8 * len(arguments)
        if keywords is None:
            recipe = self.recipe_of.get(id(callable))
            if recipe is not None:
                value = recipe(self, arguments)
                self.charged += COST["made"]
                if not isinstance(value, NotKnown):
                    self._count(callable, value)
                    return value
        self.charged += COST["instance"]
        instance = Instance(callable, arguments, new=new)
        instance.keywords = keywords
        if type(callable) is Global:
            self._count(callable, instance)
        else:
            self.refuse(MADE if new else CALLED)
        self._blame(instance)
        return instance

    def _count(self, callable: Value, value: Value) -> None:
        made = self.made.get(id(callable))
        self.made[id(callable)] = (1, value) if made is None else (made[0] + 1, made[1])

    def _blame(self, value: Value) -> None:
        """Tell of a value why it is no tensor, if that is why it came out as it did."""
        if self.wrong:
            self.note("error", "bad-tensor", value, f"a tensor cannot be read: {self.wrong}")
            self.wrong = ""

    def build(self, target: Value, state: Value) -> None:
        """Set the state of an object, as `__setstate__` or the update of its `__dict__` would."""
        builder = self.builders.get(type(target).__name__)
        if builder is not None and builder(self, target, state):
            return
        self._blame(target)
        if isinstance(target, Global) or (isinstance(target, Mapping) and target.type == "dict"):
            self.refuse(BUILT)
        if isinstance(target, Instance | Mapping | Sequence | NdArray):
            target.state = state if target.state is None else (target.state, state)
        elif isinstance(target, TensorSpec | Literal | Global):
            self.note("info", "state-not-shown", target, "a state was set on a value that shows none")
        else:
            raise Damaged(f"the pickle is damaged: it sets attributes on a {type(target).__name__}")
