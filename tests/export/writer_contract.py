"""What every writer owes its users; inherited by the tests of each."""

from __future__ import annotations

import errno
import os
import resource
import stat
import subprocess
import sys
import threading
from pathlib import Path

import builders
import pytest
import torch

import ckpt_viewer
from ckpt_viewer.errors import Cancelled, CannotExport, SourceChanged, TargetExists, Unreadable, WriteFailed
from ckpt_viewer.export.plan import write

ROOT = Path(__file__).resolve().parents[2]
OLD = b"precious"


def leftovers(folder: Path) -> list[str]:
    """Names in a folder that a writer may have forgotten."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


class StopAt:
    """A context that is cancelled once `share` of the work is done."""

    def __init__(self, share: float) -> None:
        self.share, self.steps = share, []

    def step(self, done, total):
        self.steps.append((done, total))
        if done >= total * self.share:
            raise Cancelled


def checkpoint_value():
    torch.manual_seed(0)
    base = torch.randn(3000, 7)
    return {"model": {"base.weight": base, "view.weight": base[10:20], "n.weight": torch.arange(9)}, "epoch": 3}


class WriterContract:
    """Subclasses say how to plan, and what a right result is."""

    arguments: tuple[str, ...]
    """Of the command line, before -o."""
    name = "new.pth"
    """Of the file that counts."""
    uncertain = 0
    """Bytes by which the length may differ from the planned one."""
    says_changed = "changed by another program"
    """Of a source that was changed after it was planned what to write."""
    most_memory = 60_000_000
    """Bytes that writing a large file may take at most, all of the program included."""

    most_a_tensor = 1100
    """Bytes that it may take for each tensor of very many, those of the comparison included."""

    def plan(self, checkpoint):
        raise NotImplementedError

    def check(self, source: Path, target: Path) -> None:
        """Compare with torch; raises AssertionError."""
        raise NotImplementedError

    @pytest.fixture(params=[False, True], ids=["zip", "legacy"])
    def source(self, tmp_path, request):
        folder = tmp_path / "in"
        folder.mkdir()
        return self.saved(self.value(), folder, legacy=request.param)

    def saved(self, value, folder, *, legacy=False):
        """Save a value on a GPU; return the path to open."""
        return builders.save(value, folder / "model_3.pth", legacy=legacy, tag="cuda:1")

    def copied(self, source):
        """Return the file that the largest tensor is copied from."""
        return source

    def put(self, target):
        """Put something there that may be replaced if somebody asks for it."""
        target.write_bytes(OLD)

    def stayed(self, target):
        """Whether it is still there, and nothing else is."""
        return target.read_bytes() == OLD and leftovers(target.parent) == []

    def value(self):
        """What the source holds."""
        return checkpoint_value()

    @pytest.fixture
    def opened(self, source):
        with ckpt_viewer.open_checkpoint(source) as checkpoint:
            yield checkpoint

    @pytest.fixture
    def target(self, tmp_path):
        folder = tmp_path / "out"
        folder.mkdir()
        return folder / self.name

    # --- what it writes ---------------------------------------------------------------------------------------------

    def test_the_result_is_right(self, opened, source, target):
        plan = self.plan(opened)
        written = write(plan, target)
        self.check(source, target)
        files = [path for path, _ in plan.recipe.files(target)]
        assert (written.path, written.bytes) == (target, sum(path.stat().st_size for path in files))
        assert sorted(path for path in target.parent.rglob("*") if path.is_file()) == sorted(files)
        assert abs(written.bytes - plan.recipe.nbytes) <= self.uncertain
        assert written.verified == "ckpt-viewer"
        assert leftovers(target.parent) == []

    def test_verifying_can_be_left_out(self, opened, source, target):
        assert write(self.plan(opened), target, verify=False).verified is None
        self.check(source, target)

    def test_the_source_is_not_touched(self, opened, source, target):
        before = [(path, path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(source.parent.iterdir())]
        write(self.plan(opened), target)
        after = [(path, path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(source.parent.iterdir())]
        assert after == before

    def test_the_default_target_is_beside_the_source(self, opened, source):
        written = write(self.plan(opened))
        assert written.path.parent == source.parent
        assert written.path != source
        self.check(source, written.path)

    def test_the_mode_is_what_a_save_would_give(self, opened, target):
        mask = os.umask(0o027)
        try:
            write(self.plan(opened), target)
        finally:
            os.umask(mask)
        files = [path for path in target.parent.rglob("*") if path.is_file()]
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o640}

    def test_progress_only_grows(self, opened, target):
        context = StopAt(2)
        write(self.plan(opened), target, context=context)
        done = [done for done, _ in context.steps]
        assert done == sorted(done)
        assert done[-1] > self.plan(opened).nbytes // 2
        assert all(done <= total for done, total in context.steps)

    # --- what it must not harm --------------------------------------------------------------------------------------

    def test_an_existing_target_stays(self, opened, target):
        target.write_bytes(OLD)
        with pytest.raises(TargetExists, match="exists already"):
            write(self.plan(opened), target)
        assert target.read_bytes() == OLD
        assert leftovers(target.parent) == []

    def test_force_replaces_it_and_keeps_its_mode(self, opened, source, target):
        target.write_bytes(OLD)
        target.chmod(0o604)
        write(self.plan(opened), target, force=True)
        self.check(source, target)
        assert stat.S_IMODE(target.stat().st_mode) == 0o604

    def test_a_target_that_appears_meanwhile_stays(self, opened, target):
        class Intruder:
            def step(self, done, total):
                target.write_bytes(OLD)

        with pytest.raises(TargetExists):
            write(self.plan(opened), target, context=Intruder())
        assert target.read_bytes() == OLD
        assert leftovers(target.parent) == []

    @pytest.mark.parametrize("how", ["itself", "link", "hard link", "dots"])
    def test_the_source_is_never_the_target(self, opened, source, target, how):
        before = source.read_bytes()
        other = {"itself": source, "dots": source.parent / "x" / ".." / source.name}.get(how, target)
        if how == "link":
            target.symlink_to(source)
        elif how == "hard link":
            os.link(source, target)
        elif how == "dots":
            (source.parent / "x").mkdir()
        with pytest.raises(CannotExport, match="very file that is read"):
            write(self.plan(opened), other, force=True)
        assert source.read_bytes() == before
        assert leftovers(source.parent) == []

    @pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
    @pytest.mark.parametrize("old", [False, True])
    def test_cancelling_leaves_nothing(self, opened, target, share, old):
        if old:
            self.put(target)
        with pytest.raises(Cancelled):
            write(self.plan(opened), target, force=True, context=StopAt(share))
        assert self.stayed(target) if old else not any(target.parent.iterdir())

    def test_a_full_disk_leaves_nothing(self, opened, target, monkeypatch):
        self.put(target)
        real, calls = os.write, []

        def full(fd, data):
            calls.append(len(data))
            if len(calls) > 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(fd, data[:1000])

        monkeypatch.setattr("ckpt_viewer.export.atomic.os.write", full)
        with pytest.raises(WriteFailed, match=r"disk of .* is full; free some space"):
            write(self.plan(opened), target, force=True)
        assert self.stayed(target)

    @pytest.fixture
    def small_disk(self, tmp_path):
        """A disk of 64 kB."""
        folder = tmp_path / "disk"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
        if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("only root mounts disks, and not everywhere")
        yield folder
        subprocess.run(["umount", str(folder)], check=True)

    def test_a_disk_that_really_fills_up(self, opened, small_disk, monkeypatch):
        target = small_disk / self.name
        self.put(target)
        with pytest.raises(WriteFailed, match=r"too little space: .* are needed and .* are missing; free some"):
            write(self.plan(opened), target, force=True)
        for module in ("atomic", "together", "folder"):
            monkeypatch.setattr(f"ckpt_viewer.export.{module}.check_space", lambda folder, nbytes: None)
        with pytest.raises(WriteFailed, match=r"disk of .* is full; free some space"):
            write(self.plan(opened), target, force=True)
        assert [path.name for path in small_disk.iterdir()] == [self.name]
        assert self.stayed(target)

    def test_too_little_space_is_said_before_anything_is_written(self, opened, target, monkeypatch):
        import shutil

        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 70_000))
        plan = self.plan(opened)
        with pytest.raises(WriteFailed, match=r"too little space: .* kB are needed and .* kB are missing; free some"):
            write(plan, target)
        assert list(target.parent.iterdir()) == []

    def test_a_source_that_changes_gives_no_result(self, opened, source, target):
        plan = self.plan(opened)
        copied = self.copied(source)
        copied.write_bytes(copied.read_bytes()[:-1] + b"x")
        os.utime(copied, ns=(1, 1))
        with pytest.raises(SourceChanged, match=self.says_changed):
            write(plan, target)
        assert list(target.parent.iterdir()) == []

    def test_a_source_that_changes_halfway_gives_no_result(self, opened, source, target):
        copied = self.copied(source)

        class Meddler:
            def step(self, done, total):
                if done > 0.1 * total:
                    os.utime(copied, ns=(1, 1))

        with pytest.raises(SourceChanged, match="changed by another program"):
            write(self.plan(opened), target, context=Meddler())
        assert list(target.parent.iterdir()) == []

    def test_a_source_that_cannot_be_read_to_its_end_gives_no_result(self, opened, source, target, monkeypatch):
        plan, calls = self.plan(opened), []
        real = os.preadv

        def failing(fd, buffers, offset):
            if len(buffers[0]) > 50_000:
                calls.append(offset)
                raise OSError(errno.EIO, "Input/output error")
            return real(fd, buffers, offset)

        self.put(target)
        monkeypatch.setattr(os, "preadv", failing)
        with pytest.raises(Unreadable, match=r"reading failed at byte \d+ \(Input/output error\); check the disk"):
            write(plan, target, force=True)
        assert calls
        assert self.stayed(target)

    @pytest.mark.parametrize("place", [0, 40_000, -1])
    def test_a_wrong_byte_is_noticed_before_the_file_gets_its_name(self, opened, target, monkeypatch, place):
        from ckpt_viewer.export.atomic import AtomicFile

        real, wrong = AtomicFile.write, []

        def write_wrong(self, data):
            if len(data) > 50_000 and not wrong:
                wrong.append(True)
                data = bytearray(data)
                data[place] ^= 1
            real(self, data)

        monkeypatch.setattr(AtomicFile, "write", write_wrong)
        with pytest.raises(WriteFailed, match="differs from the source at"):
            write(self.plan(opened), target)
        assert wrong
        assert list(target.parent.iterdir()) == []

    # --- as a program -----------------------------------------------------------------------------------------------

    def run(self, source, target, *more, **options):
        command = [sys.executable, "-m", "ckpt_viewer", *self.arguments, str(source), "-o", str(target), *more]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=120, check=False, **options)

    def test_a_limited_file_size_is_a_sentence(self, source, target):
        limit = (20_000, 20_000)
        done = self.run(source, target, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
        assert done.returncode == 2
        assert "a file of this size is not allowed" in done.stderr
        assert "Traceback" not in done.stderr
        assert list(target.parent.iterdir()) == []

    def test_a_signal_leaves_nothing(self, source, target):
        """Whatever instant a signal arrives at, there is either nothing or the whole file."""
        code = (
            "import os, signal, sys\n"
            "from ckpt_viewer.export import atomic\n"
            "from ckpt_viewer.cli import main\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # in the background it is ignored
            "real = atomic.AtomicFile.write\n"
            "def write(self, data):\n"
            "    real(self, data)\n"
            "    if self.position > 50_000: os.kill(os.getpid(), int(sys.argv[1]))\n"
            "atomic.AtomicFile.write = write\n"
            "sys.exit(main(sys.argv[2:]))\n"
        )
        for number in ("1", "2", "15"):
            command = [sys.executable, "-c", code, number, *self.arguments, str(source), "-o", str(target)]
            env = {**os.environ, "PYTHONPATH": str(ROOT)}
            done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120, check=False)
            assert done.returncode == 130
            assert "Traceback" not in done.stderr
            assert list(target.parent.iterdir()) == []

    def large(self):
        """What is written to see how much memory that takes."""
        return {"weight": torch.zeros(40_000_000), "bias": torch.zeros(3)}

    def measured(self, source, target, *more):
        """Run the program; return how it ended, and the memory it took at most, in bytes."""
        code = (
            "import sys\nfrom ckpt_viewer.cli import main\ncode = main(sys.argv[1:])\n"
            "text = open('/proc/self/status').read()\n"
            "print(int(text.partition('VmHWM:')[2].split()[0]) * 1024, file=sys.stderr)\nsys.exit(code)\n"
        )
        command = [sys.executable, "-c", code, *self.arguments, str(source), "-o", str(target), *more]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done, int(done.stderr.splitlines()[-1])

    def test_memory_does_not_grow_with_the_file(self, tmp_path, target):
        source = self.saved(self.large(), tmp_path)
        _, memory = self.measured(source, target)
        assert sum(path.stat().st_size for path in target.parent.rglob("*")) > 160_000_000
        assert memory < self.most_memory

    def many(self, count):
        """That many tensors, to see how much memory each of them takes."""
        return {f"layers.{number}.weight": torch.zeros(4) for number in range(count)}

    def test_memory_grows_little_with_the_number_of_tensors(self, tmp_path, target):
        taken = []
        for count in (2_000, 14_000):
            folder = tmp_path / str(count)
            folder.mkdir()
            source = self.saved(self.many(count), folder)
            taken.append(self.measured(source, target.with_name(f"{count} {target.name}"), "--no-torch")[1])
        assert taken[1] - taken[0] < 12_000 * self.most_a_tensor

    def test_two_threads_do_not_disturb_each_other(self, opened, source, target):
        plan, failures = self.plan(opened), []

        def work(number):
            try:
                write(plan, target.with_name(f"{number}{target.name}"))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert failures == []
        for number in range(2):
            self.check(source, target.with_name(f"{number}{target.name}"))
