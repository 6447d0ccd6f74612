"""The opcodes that make containers and objects: one small function for each of pickle protocols 0 to 5.

Plain values are in `opcodes_plain`, what moves them about in `opcodes_stack`. A handler gets the machine and the
position behind its opcode byte and returns the position of the next one. Which byte is which handler is in `table`.
"""

from __future__ import annotations

from ckpt_viewer.core.value import Instance, Mapping, Sequence, Value
from ckpt_viewer.errors import Damaged
from ckpt_viewer.unpickle.budget import COST
from ckpt_viewer.unpickle.fastmany import fast_run
from ckpt_viewer.unpickle.fastpath import fast_tensor
from ckpt_viewer.unpickle.fastrun import BEGINS
from ckpt_viewer.unpickle.machine import Machine
from ckpt_viewer.unpickle.opcodes_plain import I32, U16, text_line
from ckpt_viewer.unpickle.weights_only import APPENDED, EXTENDED, Refusal

# --- containers ---------------------------------------------------------------------------------------------------


def op_mark(m: Machine, at: int) -> int:
    following = m.data[at]
    after = fast_tensor(m, at) if following == 0x28 else 0
    if after:
        return after
    m.metastack.append(m.stack)
    m.stack = []
    m.charged += COST["mark"]
    if m.layouts and following in BEGINS and not m.far_memo:
        return fast_run(m, at)
    return at


def op_empty_tuple(m: Machine, at: int) -> int:
    m.stack.append(())
    return at


def op_tuple(m: Machine, at: int) -> int:
    items = tuple(m.pop_mark())
    m.charged += COST["tuple"]
    m.stack.append(items)
    return at


def op_tuple1(m: Machine, at: int) -> int:
    m.charged += COST["tuple"]
    m.stack[-1] = (m.stack[-1],)
    return at


def op_tuple2(m: Machine, at: int) -> int:
    m.charged += COST["tuple"]
    second = m.stack.pop()
    m.stack[-1] = (m.stack[-1], second)
    return at


def op_tuple3(m: Machine, at: int) -> int:
    m.charged += COST["tuple"]
    third, second = m.stack.pop(), m.stack.pop()
    m.stack[-1] = (m.stack[-1], second, third)
    return at


def op_empty_list(m: Machine, at: int) -> int:
    m.charged += COST["list"]
    m.stack.append([])
    return at


def op_list(m: Machine, at: int) -> int:
    m.charged += COST["list"]
    items = m.pop_mark()
    m.stack.append(items)
    return at


def op_empty_dict(m: Machine, at: int) -> int:
    m.charged += COST["mapping"]
    m.stack.append(Mapping())
    return at


def op_dict(m: Machine, at: int) -> int:
    m.charged += COST["mapping"]
    items = m.pop_mark()
    mapping = Mapping()
    _extend_pairs(mapping, items)
    m.stack.append(mapping)
    return at


def op_empty_set(m: Machine, at: int) -> int:
    m.charged += COST["set"]
    m.stack.append(Sequence("set", "set", []))
    return at


def op_frozenset(m: Machine, at: int) -> int:
    m.charged += COST["set"]
    items = m.pop_mark()
    m.stack.append(Sequence("frozenset", "set", items))
    return at


def _extend(m: Machine, items: list[Value], refusal: Refusal) -> None:
    target = m.stack[-1]
    if type(target) is list:
        target.extend(items)
    elif isinstance(target, Sequence | Instance):
        m.refuse(refusal)
        target.items.extend(items)
    else:
        raise Damaged(f"the pickle is damaged: it appends to a {type(target).__name__}")


def _extend_pairs(target: Value, items: list[Value]) -> None:
    if len(items) % 2:
        raise Damaged("the pickle is damaged: a dict key without a value")
    if not isinstance(target, Mapping | Instance):
        raise Damaged(f"the pickle is damaged: it sets keys of a {type(target).__name__}")
    target.pairs.extend(items)


def op_append(m: Machine, at: int) -> int:
    item = m.stack.pop()
    _extend(m, [item], APPENDED)
    return at


def op_appends(m: Machine, at: int) -> int:
    items = m.pop_mark()
    _extend(m, items, EXTENDED)
    return at


def op_setitem(m: Machine, at: int) -> int:
    value, key = m.stack.pop(), m.stack.pop()
    _extend_pairs(m.stack[-1], [key, value])
    return at


def op_setitems(m: Machine, at: int) -> int:
    items = m.pop_mark()
    _extend_pairs(m.stack[-1], items)
    return at


# --- objects ------------------------------------------------------------------------------------------------------


def op_global(m: Machine, at: int) -> int:
    module, end = text_line(m, at)
    name, end = text_line(m, end)
    m.stack.append(m.find_global(module, name, at - 1))
    return end


def op_stack_global(m: Machine, at: int) -> int:
    name, module = m.stack.pop(), m.stack.pop()
    if type(name) is not str or type(module) is not str:
        # a name that is what a call returns: nobody can tell which, so the opcode itself is listed, as dangerous
        m.stack.append(m.call(m.find_global("pickle", "STACK_GLOBAL", at - 1), (module, name)))
        m.note("warning", "computed-name", m.stack[-1], "a name is computed while the pickle runs, to hide it")
    else:
        m.stack.append(m.find_global(module, name, at - 1))
    return at


def op_reduce(m: Machine, at: int) -> int:
    arguments = m.stack.pop()
    m.stack[-1] = m.call(m.stack[-1], arguments)
    return at


def op_newobj(m: Machine, at: int) -> int:
    arguments = m.stack.pop()
    m.stack[-1] = m.call(m.stack[-1], arguments, new=True)
    return at


def op_newobj_ex(m: Machine, at: int) -> int:
    keywords, arguments = m.stack.pop(), m.stack.pop()
    if isinstance(keywords, Mapping) and not keywords.pairs:
        keywords = None
    m.stack[-1] = m.call(m.stack[-1], arguments, new=True, keywords=keywords)
    return at


def op_inst(m: Machine, at: int) -> int:
    module, end = text_line(m, at)
    name, end = text_line(m, end)
    arguments = tuple(m.pop_mark())
    m.stack.append(m.call(m.find_global(module, name, at - 1), arguments, new=not arguments))
    return end


def op_obj(m: Machine, at: int) -> int:
    made_of = m.pop_mark()
    m.stack.append(m.call(made_of[0], tuple(made_of[1:]), new=len(made_of) == 1))
    return at


def op_build(m: Machine, at: int) -> int:
    state = m.stack.pop()
    m.build(m.stack[-1], state)
    return at


def op_binpersid(m: Machine, at: int) -> int:
    m.stack[-1] = m.persistent(m, m.stack[-1])
    return at


def op_persid(m: Machine, at: int) -> int:
    text, at = text_line(m, at)
    m.stack.append(m.persistent(m, text))
    return at


def _extension(m: Machine, code: int, at: int) -> int:
    m.stack.append(m.find_global("copyreg", f"extension {code}", at))
    return at


def op_ext1(m: Machine, at: int) -> int:
    return _extension(m, m.data[at], at + 1)


def op_ext2(m: Machine, at: int) -> int:
    return _extension(m, U16(m.data, at)[0], at + 2)


def op_ext4(m: Machine, at: int) -> int:
    return _extension(m, I32(m.data, at)[0], at + 4)
