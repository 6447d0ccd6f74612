"""mimeapps.list: one item more, one item less, every other byte as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_viewer.desktop.mimeapps import add_default, default_of, remove_default

TYPE = "application/x-pytorch-checkpoint"
OURS = "ckpt-viewer.desktop"
FILES = {
    "none": b"",
    "only a newline": b"\n",
    "another section": b"[Added Associations]\ntext/plain=a.desktop;\n",
    "no newline at the end": b"[Added Associations]\ntext/plain=a.desktop;",
    "empty section": b"[Default Applications]\n",
    "header without newline": b"# mine\n[Default Applications]",
    "other defaults": b"[Default Applications]\ntext/plain=a.desktop\ni/p=b.desktop\n\n[Removed Associations]\nx/y=z\n",
    "a default of ours": b"[Default Applications]\napplication/x-pytorch-checkpoint=a.desktop;b.desktop;\n",
    "a default without semicolon": b"[Default Applications]\napplication/x-pytorch-checkpoint = a.desktop\nx/y=c.d\n",
    "windows lines": b"[Default Applications]\r\ntext/plain=a.desktop\r\n",
    "windows lines and a default": b"[Default Applications]\r\napplication/x-pytorch-checkpoint=a.desktop\r\n",
    "a like-named program": b"[Default Applications]\napplication/x-pytorch-checkpoint=my-ckpt-viewer.desktop\n",
    "the key in another section": b"[Added Associations]\napplication/x-pytorch-checkpoint=a.desktop;\n",
    "bytes that are no text": b"# \xff\xfe\n[Default Applications]\nx/y=\xff.desktop;\n",
}


@pytest.mark.parametrize("name", FILES)
def test_adding_makes_it_first_and_removing_restores_every_byte(name: str) -> None:
    data = FILES[name]
    before = default_of(data, TYPE)
    added = add_default(data, TYPE, OURS)
    assert default_of(added.data, TYPE) == [OURS, *before]
    assert remove_default(added.data, TYPE, OURS, section_made=added.section_made) == data


@pytest.mark.parametrize("name", FILES)
def test_adding_twice_is_adding_once(name: str) -> None:
    once = add_default(FILES[name], TYPE, OURS)
    assert add_default(once.data, TYPE, OURS) == (once.data, False)


@pytest.mark.parametrize("name", FILES)
def test_other_lines_are_kept_in_their_order(name: str) -> None:
    lines = FILES[name].split(b"\n")
    rest = iter(add_default(FILES[name], TYPE, OURS).data.split(b"\n"))
    kept = [line for line in lines if not line.startswith(TYPE.encode()) and line]
    assert all(any(line == other for other in rest) for line in kept)


def test_a_new_file_is_what_the_specification_shows() -> None:
    added = add_default(b"", TYPE, OURS)
    assert added.data == b"[Default Applications]\napplication/x-pytorch-checkpoint=ckpt-viewer.desktop;\n"
    assert added.section_made


def test_an_item_further_back_is_moved_to_the_front() -> None:
    data = b"[Default Applications]\napplication/x-pytorch-checkpoint=a.desktop;ckpt-viewer.desktop;\n"
    assert default_of(add_default(data, TYPE, OURS).data, TYPE) == [OURS, "a.desktop"]


def test_what_the_user_added_since_stays() -> None:
    data = add_default(b"[Added Associations]\n", TYPE, OURS).data
    data = data.replace(b"ckpt-viewer.desktop;", b"chosen.desktop;ckpt-viewer.desktop;") + b"x/y=z.desktop\n"
    rest = remove_default(data, TYPE, OURS, section_made=True)
    assert default_of(rest, TYPE) == ["chosen.desktop"]
    assert rest.endswith(b"x/y=z.desktop\n")


def test_a_section_that_is_in_use_stays() -> None:
    data = add_default(b"", TYPE, OURS).data + b"x/y=z.desktop\n"
    assert remove_default(data, TYPE, OURS, section_made=True) == b"[Default Applications]\nx/y=z.desktop\n"


LINES = st.sampled_from(
    [
        b"",
        b"[Default Applications]",
        b"[Added Associations]",
        b"x/y=a.desktop",
        b"# note",
        b"x/z=b;",
        TYPE.encode() + b"=c;",
    ]
)


@given(st.lists(LINES, max_size=8), st.sampled_from([b"\n", b"\r\n"]), st.booleans())
def test_any_list_comes_back(lines: list[bytes], newline: bytes, ends: bool) -> None:
    data = newline.join(lines) + (newline if ends else b"")
    added = add_default(data, TYPE, OURS)
    assert default_of(added.data, TYPE)[0] == OURS
    assert remove_default(added.data, TYPE, OURS, section_made=added.section_made) == data
