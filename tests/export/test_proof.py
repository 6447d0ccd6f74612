"""Proof by torch: what it finds in a copy, when it is not asked, and that nothing else is run by it."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import builders
import pytest
import safetensors
import torch
from judge import NEW_DTYPES, OLD_DTYPES, zoo

import ckpt_viewer
from ckpt_viewer import worker_main
from ckpt_viewer.core.progress import EVERY
from ckpt_viewer.errors import Cancelled, WriteFailed
from ckpt_viewer.export import proof as export_proof
from ckpt_viewer.export.choice import Choice
from ckpt_viewer.export.claim import Claim
from ckpt_viewer.export.plan import plan_export, plan_remap, write
from ckpt_viewer.export.proof import Prover
from ckpt_viewer.torch_bridge import proof
from ckpt_viewer.worker import PROGRAM, Worker

pytestmark = pytest.mark.torch
ROOT = Path(__file__).resolve().parents[2]
TORCH = f"torch {torch.__version__.partition('+')[0]}"


class Here:
    """Answers like the worker process, in this one: as JSON, and without limits."""

    def request(self, method, params, timeout, waiting):
        waiting()
        return json.loads(json.dumps(worker_main.METHODS[method](**json.loads(json.dumps(params)))))

    def close(self):
        worker_main._proofs.clear()


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(worker_main, "allow", lambda nbytes: None)
    with Prover(Here) as prover:
        yield prover


@pytest.fixture(scope="module")
def real():
    with Prover() as prover:
        yield prover


def proven(prover, source, copy, **more):
    """Hold one file against what is in another."""
    with ckpt_viewer.open_checkpoint(source) as one:
        return prover.prove(Path(copy), Claim(one.contents.root, **more), lambda nbytes: None)


def difference(prover, source, copy, **more):
    with pytest.raises(WriteFailed, match="finds that the copy differs from the source") as error:
        proven(prover, source, copy, **more)
    return str(error.value).partition("(")[2].partition("),")[0]


def save(tmp_path, name, value, **options):
    return builders.save(value, tmp_path / f"{name}.pth", **options)


# --- copies that are right --------------------------------------------------------------------------------------------


class Named(torch.Tensor):
    pass


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_a_class_that_an_export_does_not_keep_hinders_no_proof(real, tmp_path, kind):
    source = save(tmp_path, "x", {"model": {"a.w": torch.randn(4, 3).as_subclass(Named).t(), "a.v": torch.ones(2)}})
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        written = write(plan_export(checkpoint, Choice(format=kind)), tmp_path / f"y.{kind}", prover=real)
    assert written.warnings == (f"1 tensor of class {__name__}.Named becomes a plain tensor",)
    assert (written.unproven, written.verified != "ckpt-viewer") == ("", True)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_what_is_written_is_proven(real, tmp_path, legacy):
    value = {"model": {"a.weight": torch.randn(50, 3), "a.bias": torch.ones(3)}, "epoch": 3}
    source = save(tmp_path, "x", value, legacy=legacy, tag="cuda:1")
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        for number, plan in enumerate((plan_remap(checkpoint, "cpu"), plan_export(checkpoint))):
            written = write(plan, tmp_path / f"{number}.pth", prover=real)
            assert (written.verified, written.unproven) == (TORCH, "")


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol 3")
@pytest.mark.filterwarnings("ignore:ComplexHalf support")
def test_every_dtype_and_layout(here, tmp_path, protocol, legacy):
    dtypes = OLD_DTYPES if legacy else OLD_DTYPES + NEW_DTYPES
    source = save(tmp_path, "x", zoo(dtypes), legacy=legacy, protocol=protocol, tag="cuda:1")
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        assert write(plan_remap(checkpoint, "cpu"), prover=here).verified == TORCH


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_tensors_that_are_made_of_others(here, tmp_path):
    square = torch.eye(4)
    value = {
        "coo": square.to_sparse_coo(), "csr": square.to_sparse_csr(), "csc": square.to_sparse_csc(),
        "bsr": square.to_sparse_bsr((2, 2)), "loose": torch.sparse_coo_tensor([[0, 0]], [1.0, 2.0], (3,)),
        "q": torch.quantize_per_tensor(torch.randn(9), 0.1, 3, torch.qint8),
        "meta": torch.empty(3, device="meta"), "list": [torch.ones(2), (torch.zeros(1), {"deep": torch.ones(1)})],
    }  # fmt: skip
    source = save(tmp_path, "x", value, tag="cuda:1")
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        written = write(plan_remap(checkpoint, "cpu"), prover=here)
    assert (written.verified, written.unproven) == (TORCH, "")


def test_big_endian_and_deflated_files(here, tmp_path):
    body = builders.pickled(builders.tensor(location="cuda:1"))
    numbers = builders.floats(1, 2, 3, 4)
    layouts = [
        ({"0": builders.floats(1, 2, 3, 4, order=">")}, {"byteorder": "big"}),
        ({"0": numbers}, {"deflate": ("data.pkl", "data/0")}),  # which torch would map, and take for values
    ]
    for number, (storages, layout) in enumerate(layouts):
        path = tmp_path / f"{number}.pth"
        path.write_bytes(builders.zip_checkpoint(body, storages, **layout))
        with ckpt_viewer.open_checkpoint(path) as checkpoint:
            assert write(plan_remap(checkpoint, "cpu"), prover=here).verified == TORCH


def test_much_more_than_a_block(here, tmp_path, monkeypatch):
    monkeypatch.setattr("ckpt_viewer.export.proof.BLOCK", 1 << 12)
    value = {f"w{n}": torch.randn(n * 37) for n in range(60)}
    source = save(tmp_path, "x", value)
    steps = []
    with ckpt_viewer.open_checkpoint(source) as one:
        proof = here.prove(source, Claim(one.contents.root), steps.append)
    assert proof.by == TORCH
    assert sum(steps) == sum(tensor.nbytes for tensor in value.values())


def test_many_small_tensors_are_compared_in_steps(here, tmp_path, monkeypatch):
    torch.save({str(number): torch.tensor([float(number)]) for number in range(1000)}, tmp_path / "many.pth")
    steps, filling = [], []
    genuine = export_proof._blocks

    def watched(*args):
        before = len(steps)
        for block in genuine(*args):
            filling.append(len(steps) - before)
            yield block

    monkeypatch.setattr(export_proof, "_blocks", watched)
    with ckpt_viewer.open_checkpoint(tmp_path / "many.pth") as one:
        assert here.prove(tmp_path / "many.pth", Claim(one.contents.root), steps.append).by == TORCH
    assert filling == [1000 // EVERY]  # all are in one block
    assert sum(steps) == 4000


def test_memory_that_many_tensors_view_is_compared_once(here, tmp_path):
    base = torch.randn(1000)
    source = save(tmp_path, "x", {f"v{n}": base[n:] for n in range(300)})
    steps = []
    with ckpt_viewer.open_checkpoint(source) as one:
        assert here.prove(source, Claim(one.contents.root), steps.append).by == TORCH
    assert sum(steps) == 4000


def test_casts_are_held_against_those_of_torch(here, tmp_path):
    value = torch.tensor([1e-30, 70000.0, float("nan"), 1.0009765625, -0.0, float("inf")])
    source = save(tmp_path, "x", {"w": value, "t": value.reshape(2, 3).t(), "n": torch.arange(3)})
    cast = {"w": "float16", "t": "bfloat16"}
    copy = save(tmp_path, "y", {"w": value.half(), "t": value.reshape(2, 3).t().bfloat16(), "n": torch.arange(3)})
    assert proven(here, source, copy, cast=cast).by == TORCH
    wrong = value.half()
    wrong[3] = 1.002
    copy = save(tmp_path, "y", {"w": wrong, "t": value.reshape(2, 3).t().bfloat16(), "n": torch.arange(3)})
    assert difference(here, source, copy, cast=cast) == "w has other values"


# --- copies that are not ----------------------------------------------------------------------------------------------

BASE = torch.arange(6.0)


@pytest.mark.parametrize(
    ("other", "where"),
    [
        ({"a": BASE, "b": BASE[2:], "n": [1, 2.5]}, ""),
        ({"a": BASE, "b": BASE[2:].clone(), "n": [1, 2.5]}, "b does not share its memory"),
        ({"a": BASE, "b": BASE[1:5], "n": [1, 2.5]}, "b does not share its memory"),
        ({"b": BASE[2:], "a": BASE, "n": [1, 2.5]}, "the root has the name 'b' where 'a' belongs"),
        ({"a": BASE, "b": BASE[2:], "c": 1, "n": [1, 2.5]}, "the root has another number of names"),
        ({"a": BASE, "b": BASE[2:], "n": [1, 2.5, 3]}, "n is another list"),
        ({"a": BASE, "b": BASE[2:], "n": [1, 2.25]}, "n/1 has another value"),
        ({"a": BASE, "b": BASE[2:], "n": [True, 2.5]}, "n/0 has another value"),
        ({"a": BASE, "b": 4, "n": [1, 2.5]}, "b is no tensor"),
        ({"a": BASE.double(), "b": BASE[2:], "n": [1, 2.5]}, "a is torch.float64 [6] and not torch.float32 [6]"),
        ({"a": BASE, "b": BASE[2:].reshape(2, 2), "n": [1, 2.5]}, "b is torch.float32 [2, 2] and not torch.float32"),
        ({"a": BASE, "b": BASE[:4].flip(0)[:4], "n": [1, 2.5]}, "b does not share its memory"),
        ({"a": (other := BASE.nextafter(BASE + 1)), "b": other[2:], "n": [1, 2.5]}, "a has other values"),
    ],
)
def test_what_differs_is_named(here, tmp_path, other, where):
    source = save(tmp_path, "x", {"a": BASE, "b": BASE[2:], "n": [1, 2.5]})
    copy = save(tmp_path, "y", other)
    if where:
        assert difference(here, source, copy).startswith(where)
    else:
        assert proven(here, source, copy).by == TORCH


def test_other_strides_and_parts_are_noticed(here, tmp_path):
    source = save(tmp_path, "x", {"t": BASE.reshape(2, 3).t()})
    copy = save(tmp_path, "y", {"t": BASE.reshape(2, 3).t().contiguous()})
    assert difference(here, source, copy) == "t has strides [2, 1] and not [1, 3]"
    assert proven(here, source, copy, strides=False).by == TORCH
    source = save(tmp_path, "x", {"s": torch.eye(3).to_sparse_coo()})
    copy = save(tmp_path, "y", {"s": torch.eye(3).roll(1).to_sparse_coo()})
    assert difference(here, source, copy) == "s has other values"
    copy = save(tmp_path, "y", {"s": torch.ones(3, 3).to_sparse_coo()})
    assert difference(here, source, copy).startswith("s has indices where it is torch.int64 [2, 9]")


def test_a_difference_removes_the_copy(real, tmp_path, monkeypatch):
    """A byte goes wrong once our own comparison is over."""
    source = save(tmp_path, "x", {"w": torch.zeros(100_000)}, tag="cuda:1")
    compare = Prover._compare

    def late(self, path, *rest):
        with path.open("r+b") as file:
            file.seek(200_000)
            file.write(b"\1")
        return compare(self, path, *rest)

    monkeypatch.setattr(Prover, "_compare", late)
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        plan = plan_remap(checkpoint, "cpu")
        with pytest.raises(WriteFailed, match=rf"^{TORCH} finds that .* \(w has other values\), so it was removed"):
            write(plan, prover=real)
    assert [path.name for path in tmp_path.iterdir()] == ["x.pth"]


def test_what_torch_does_not_load_is_removed(real, tmp_path, monkeypatch):
    monkeypatch.setattr("ckpt_viewer.export.proof._look", lambda *args: True)
    path = tmp_path / "bad.pth"
    path.write_bytes(b"PK\3\4 nothing")
    with pytest.raises(
        WriteFailed, match=rf"^{TORCH} does not load the copy, so it was removed; .*PytorchStreamReader"
    ):
        real.prove(path, Claim({}), lambda nbytes: None)
    proof = real.prove(path, Claim({}, source=str(path)), lambda nbytes: None)
    assert proof.why_not.startswith("it refuses the source too (PytorchStreamReader")


# --- when torch is not asked, or cannot answer ------------------------------------------------------------------------


def unproven(prover, source):
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        written = write(plan_remap(checkpoint, "cpu"), prover=prover, force=True)
    assert written.path.exists()
    assert written.verified == "ckpt-viewer"
    return written.unproven


def never():
    raise AssertionError("no process may be started")


def test_unknown_names_and_refused_files_do_not_get_near_torch(tmp_path):
    with Prover(never) as prover:
        source = save(tmp_path, "x", {"w": torch.ones(2), "a": argparse.Namespace(b=1)}, tag="cuda:1")
        assert "names argparse.Namespace, which is not known" in unproven(prover, source)
        source = save(tmp_path, "x", {"w": torch.ones(2)}, tag="cuda:1", protocol=4)
        assert unproven(prover, source).startswith("torch.load(weights_only=True) refuses it: pickle opcode")


def test_too_little_memory_for_a_file_that_is_not_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr("ckpt_viewer.export.proof._free_memory", lambda: 1000)
    source = save(tmp_path, "x", {"w": torch.ones(200)}, tag="cuda:1", legacy=True)
    with Prover(never) as prover:
        assert "there is too little" in unproven(prover, source)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import sys; sys.exit(3)", "the worker process ended unexpectedly (exit code 3)"),
        ("import os; input(); os.kill(os.getpid(), 9)", "the worker process ended unexpectedly (signal 9)"),
        ("input(); print('{', flush=True); input()", "the worker process gave an answer that makes no sense"),
        (
            "import sys; sys.modules['torch'] = None\n" + PROGRAM,
            "torch cannot be used (import of torch halted; None in sys.modules)",
        ),
        (
            PROGRAM.replace(
                "main()", "import resource; resource.setrlimit(resource.RLIMIT_DATA, (1 << 27,) * 2); main()"
            ),
            "",
        ),
    ],
)
def test_a_missing_or_dying_torch_is_no_error_of_the_export(tmp_path, program, reason):
    source = save(tmp_path, "x", {"w": torch.ones(200)}, tag="cuda:1")
    with Prover(lambda: Worker(program)) as prover:
        said = unproven(prover, source)
    assert said
    assert said.startswith(reason)


def test_a_missing_safetensors_is_named(tmp_path):
    source = save(tmp_path, "x", {"layer.weight": torch.ones(200)})
    program = "import sys; sys.modules['safetensors'] = None\n" + PROGRAM
    with Prover(lambda: Worker(program)) as prover, ckpt_viewer.open_checkpoint(source) as checkpoint:
        plan = plan_export(checkpoint, Choice(format="safetensors"))
        written = write(plan, tmp_path / "y.safetensors", prover=prover)
    assert written.verified == "ckpt-viewer"
    assert written.unproven.startswith("safetensors cannot be used (")


def test_an_old_torch_is_not_believed(here, tmp_path, monkeypatch):
    monkeypatch.setattr(proof, "OLDEST", (99, 0))
    source = save(tmp_path, "x", {"w": torch.ones(2)}, tag="cuda:1")
    assert unproven(here, source) == f"{TORCH} is older than 99.0"


def test_cancelling_ends_the_process(tmp_path):
    source = save(tmp_path, "x", {"w": torch.ones(200)}, tag="cuda:1")
    started = []

    def make():
        started.append(Worker("input(); input()  # takes the request and says nothing"))
        return started[0]

    class Impatient:
        def step(self, done, total):
            if started and started[0].pid is not None:
                raise Cancelled

    with ckpt_viewer.open_checkpoint(source) as checkpoint, Prover(make) as prover:
        with pytest.raises(Cancelled):
            write(plan_remap(checkpoint, "cpu"), prover=prover, context=Impatient())
        assert started[0].pid is None
    assert [path.name for path in tmp_path.iterdir()] == ["x.pth"]


def test_nothing_beside_a_checkpoint_is_imported(tmp_path):
    """Neither the command line nor the process with torch takes modules from the folder that it works in."""
    mark = tmp_path / "imported"
    for name in ("torch", "safetensors", "json", "numpy", "sitecustomize", "usercustomize", "ckpt_viewer"):
        (tmp_path / f"{name}.py").write_text(f"open({str(mark)!r}, 'w')")
    save(tmp_path, "x", {"w": torch.ones(200)}, tag="cuda:1")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from ckpt_viewer.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-P", "-c", code, "remap", "x.pth", "--map-location", "cpu", "--json"]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=env, timeout=120, check=True)
    assert json.loads(done.stdout)["verified"] == TORCH
    assert not mark.exists()


@pytest.mark.parametrize("name", ["pth", "safetensors"])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_casts_of_every_writer(here, tmp_path, name, legacy):
    """Held against torch's own casts, whatever the strides."""
    torch.manual_seed(0)
    value = {
        "w": torch.randn(70, 30) * 1e5,
        "t": torch.randn(5, 7).t(),
        "n": torch.arange(5),
        "h": torch.ones(3).half(),
    }
    source = save(tmp_path, "x", value, legacy=legacy)
    by = TORCH if name == "pth" else f"safetensors {safetensors.__version__}"
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        for dtype in ("", "float16", "bfloat16", "float32"):
            plan = plan_export(checkpoint, Choice(("",), dtype=dtype, format=name))
            written = write(plan, tmp_path / f"out.{name}", force=True, prover=here)
            assert (written.verified, written.unproven) == (by, "")
            assert written.cast == {each: dtype for each in value if dtype and value[each].is_floating_point()
                                    and str(value[each].dtype) != f"torch.{dtype}"}  # fmt: skip


def test_what_torch_does_not_load_is_not_shown_to_it(tmp_path):
    source = save(tmp_path, "x", {"w": torch.ones(3)})
    with ckpt_viewer.open_checkpoint(source) as checkpoint, Prover(never) as prover:
        written = write(plan_export(checkpoint, Choice(("",), format="npz")), tmp_path / "out.npz", prover=prover)
    assert (written.verified, written.unproven) == ("ckpt-viewer", "")
