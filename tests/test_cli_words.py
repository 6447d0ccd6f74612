"""What the command line says to slips of the hand, and of what only a window has."""

from __future__ import annotations

import sys

import pytest
from builders import pickled, zip_checkpoint, zip_file

from ckpt_viewer.cli import _options, main


@pytest.mark.parametrize(("word", "meant"), [("exprot", "export"), ("Check", "check"), ("shwo", "show"), ("lss", "ls")])
def test_a_misspelt_command_opens_no_window(word, meant, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ckpt_viewer.gui.app", None)
    for arguments in ([word], [word, "x.pth"], [word, "x.pth", "-o", "y.pth"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert f"neither a command nor a file '{word}'; did you mean {meant}?" in capsys.readouterr().err
    (tmp_path / word).write_bytes(b"")
    assert main([word, "x.pth"]) == 2  # the window could not be imported
    assert "did you mean" not in capsys.readouterr().err


def test_an_error_speaks_of_no_key_of_a_window(tmp_path, capsys):
    path = tmp_path / "growing.pth"
    path.write_bytes(zip_checkpoint(pickled(b"N"), {})[:-60])
    assert main(["ls", str(path)]) == 2
    said = capsys.readouterr().err
    assert "may still be being written, so wait and run this again" in said
    assert "F5" not in said


def test_the_files_own_name_is_no_finding_about_its_records(capsys, tmp_path):
    path = tmp_path / "m.pth"
    path.write_bytes(zip_file({"a\tb/data.pkl": pickled(b"N"), "a\tb/version": b"3\n"}))
    assert main(["ls", str(path)]) == 0
    assert "not seen" not in capsys.readouterr().out
    path.write_bytes(zip_file({"a\tb/data.pkl": pickled(b"N"), "a\tb/ver\tsion": b"3\n"}))
    assert main(["ls", str(path)]) == 0
    assert "not seen" in capsys.readouterr().out


def test_what_may_be_several_may_stand_behind_options():
    words = {
        ("stats", "x.pth", "--json", "/a"): ("pointers", ["/a"]),
        ("stats", "x.pth", "/a", "--bins", "3", "/b", "/c"): ("pointers", ["/a", "/b", "/c"]),
        ("stats", "--json", "x.pth"): ("pointers", []),
        ("x.pth", "--size", "90x60", "y.pth"): ("files", ["x.pth", "y.pth"]),
        ("view", "--select", "/a", "x.pth"): ("files", ["x.pth"]),
    }
    assert {each: getattr(_options([*each]), kind) for each, (kind, _) in words.items()} == {
        each: found for each, (_, found) in words.items()
    }


@pytest.mark.parametrize(
    "words", [("stats", "x.pth", "--jsn", "/a"), ("ls", "x.pth", "y.pth"), ("show", "x.pth", "/a", "/b")]
)
def test_words_that_nobody_asked_for_are_refused(capsys, words):
    with pytest.raises(SystemExit) as ended:
        main([*words])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("ckpt-viewer: unrecognized arguments: ")
