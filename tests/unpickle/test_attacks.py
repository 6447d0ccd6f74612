"""The file is data: whatever a pickle names, nothing of it happens."""

from __future__ import annotations

import subprocess
import sys

import pytest
from builders import call, mapped, name, pickled, text
from opening import look_at_all, open_bytes, read_all
from payloads import PAYLOADS, containers

from ckpt_viewer.errors import CheckpointError, Damaged
from ckpt_viewer.formats import open_checkpoint

KINDS = ("raw", "zip", "legacy")
LOADER = """
import pickle, sys
for path in sys.argv[1:]:
    try:
        with open(path, "rb") as file:
            pickle.load(file)
    except Exception:
        pass
"""


def look(path) -> dict[str, str]:
    """Open a file and do with it all that can be done by looking; return its globals."""
    with open_checkpoint(path) as checkpoint:
        look_at_all(checkpoint)
        read_all(checkpoint)
        for model in checkpoint.models:
            checkpoint.state_dict(model)
        return {use.name: use.status for use in checkpoint.contents.globals}


def test_the_payloads_are_live(tmp_path):
    """Python's own unpickler runs each of them: otherwise the tests below would show nothing."""
    paths, canaries = [], {}
    for number, (title, (protocol, _, payload)) in enumerate(PAYLOADS.items()):
        if title == "_load_from_bytes":  # is one of torch.load; takes seconds
            continue
        canaries[title] = tmp_path / f"canary{number}"
        paths.append(tmp_path / f"{number}.pkl")
        paths[-1].write_bytes(pickled(payload(str(canaries[title])), protocol))
    subprocess.run([sys.executable, "-c", LOADER, *map(str, paths)], check=True, capture_output=True, timeout=60)
    assert [title for title, canary in canaries.items() if not canary.exists()] == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("title", PAYLOADS)
def test_nothing_runs_and_the_name_is_called_dangerous(tmp_path, title, kind):
    protocol, dangerous, payload = PAYLOADS[title]
    canary, path = tmp_path / "canary", tmp_path / "evil.pth"
    path.write_bytes(containers(pickled(payload(str(canary)), protocol))[kind])
    statuses = look(path)
    assert not canary.exists()
    assert statuses[dangerous] == "dangerous"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", [b"\xff", b"", b"R", b"h\x63", b"cno newline", b"t"], ids=repr)
def test_a_payload_before_a_broken_end(tmp_path, kind, end):
    """Unpicklers run what comes first and complain afterwards."""
    canary, path = tmp_path / "canary", tmp_path / "evil.pth"
    _, _, payload = PAYLOADS["os.system"]
    path.write_bytes(containers(b"\x80\x02" + payload(str(canary)) + end)[kind])
    with pytest.raises(CheckpointError):
        look(path)
    assert not canary.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_the_call_is_shown_as_it_is_written(kind):
    body = call(name("os", "system"), text("rm -rf /tmp/x"))
    checkpoint = open_bytes(containers(pickled(mapped((text("model"), body))))[kind])
    node = checkpoint["/model"]
    assert (node.kind, node.type) == ("object", "os.system")
    assert [child.value for child in node.children] == ["rm -rf /tmp/x"]


def test_a_payload_among_the_header_of_a_legacy_stream(tmp_path):
    """Names in pickles 1, 2, 3 and 5 are refused: no writer puts any there."""
    _, _, payload = PAYLOADS["os.system"]
    canary = tmp_path / "canary"
    evil = pickled(payload(str(canary)))
    data = containers(pickled(b"N"))["legacy"]
    magic = data[: data.index(b".") + 1]
    with pytest.raises(Damaged):
        open_bytes(magic + evil + data[len(magic) :])
    assert not canary.exists()


def test_a_module_on_the_path_is_not_imported(tmp_path, monkeypatch):
    canary = tmp_path / "canary"
    (tmp_path / "planted_module.py").write_text(f"open({str(canary)!r}, 'w').close()\nclass Net: pass\n")
    package = tmp_path / "planted_package"
    package.mkdir()
    (package / "__init__.py").write_text(f"open({str(canary)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    ways = {
        "GLOBAL": (2, name("planted_module", "Net")),
        "NEWOBJ and BUILD": (2, name("planted_module", "Net") + b")\x81" + mapped((text("a"), b"K\x01")) + b"b"),
        "REDUCE": (2, call(name("planted_package", "Net"), text("x"))),
        "STACK_GLOBAL": (4, text("planted_package.inner") + text("Net.deeper") + b"\x93"),
        "INST": (2, b"(iplanted_module\nNet\n"),
        "argument": (2, call(name("collections", "defaultdict"), name("planted_module", "Net"))),
        "tensor subclass": (2, call(name("torch._tensor", "_rebuild_from_type_v2"), name("planted_module", "f"),
                                    name("planted_module", "Net"), b")", b"N")),
    }  # fmt: skip
    for protocol, body in ways.values():
        for data in containers(pickled(body, protocol)).values():
            (tmp_path / "x.pth").write_bytes(data)
            statuses = look(tmp_path / "x.pth")
            assert "unknown" in statuses.values()
    assert not canary.exists()
    assert not {module for module in sys.modules if module.startswith("planted_")}
    subprocess.run([sys.executable, "-c", "import planted_module"], cwd=tmp_path, check=True, timeout=60)
    assert canary.exists(), "the planted module would not have told"


def test_looking_at_a_file_imports_nothing_that_it_names(tmp_path):
    wanted = ["this", "antigravity", "telnetlib", "idlelib.pyshell", "lib2to3.main", "turtledemo"]
    missing = [module for module in wanted if module not in sys.modules]
    assert missing, "all of them were imported by somebody else"
    path = tmp_path / "x.pth"
    path.write_bytes(pickled(mapped(*((text(module), name(module, "main")) for module in missing))))
    look(path)
    assert not [module for module in missing if module in sys.modules]


def test_nothing_is_written_while_looking(tmp_path, monkeypatch):
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for number, (protocol, _, payload) in enumerate(PAYLOADS.values()):
        path = tmp_path / f"{number}.pth"
        path.write_bytes(containers(pickled(payload("canary"), protocol))["zip"])
        look(path)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("protocol", "module", "attribute", "expected"),
    [
        (2, "__builtin__", "eval", {"builtins.eval": "dangerous"}),
        (2, "__builtin__", "set", {"builtins.set": "known"}),
        (4, "__builtin__", "eval", {"__builtin__.eval": "unknown"}),
        (2, "copy_reg", "_reconstructor", {"copyreg._reconstructor": "known"}),
        (2, "cPickle", "loads", {"pickle.loads": "dangerous"}),
        (2, "torch._utils", "_rebuild_tensor_v2", {"torch._utils._rebuild_tensor_v2": "known"}),
        (2, "torch", "FloatStorage", {"torch.FloatStorage": "known"}),
        (2, "torch", "bfloat16", {"torch.bfloat16": "known"}),
        (2, "torch", "load", {"torch.load": "dangerous"}),
        (2, "torch.serialization", "os.system", {"torch.serialization.os.system": "dangerous"}),
        (2, "torch.nn.modules.linear", "Linear", {"torch.nn.modules.linear.Linear": "unknown"}),
        (2, "my_project.models", "Net", {"my_project.models.Net": "unknown"}),
        (2, "pathlib", "PosixPath", {"pathlib.PosixPath": "known"}),
        (2, "subprocess", "Popen", {"subprocess.Popen": "dangerous"}),
        (2, "builtins", "getattr", {"builtins.getattr": "dangerous"}),
        (2, "_codecs", "encode", {"_codecs.encode": "unknown"}),
        (2, "posix", "system", {"posix.system": "dangerous"}),
        (2, "numpy.core.multiarray", "_reconstruct", {"numpy.core.multiarray._reconstruct": "known"}),
    ],
)
def test_the_status_of_a_name(protocol, module, attribute, expected):
    checkpoint = open_bytes(pickled(name(module, attribute), protocol))
    assert {use.name: use.status for use in checkpoint.contents.globals} == expected


def test_names_are_spelled_by_the_last_protocol_that_was_stated():
    """Python takes the last PROTO: a higher one before it must not hide `__builtin__.eval`."""
    data = b"\x80\x04\x80\x02" + name("__builtin__", "eval") + b"."
    assert [use.name for use in open_bytes(data).contents.globals] == ["builtins.eval"]


def test_a_name_far_too_long_is_refused():
    with pytest.raises(Damaged, match="characters"):
        open_bytes(pickled(name("m" * 5000, "n")))
