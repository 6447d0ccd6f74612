"""Folders of files that belong together, and the few descriptors that many files share."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from ckpt_viewer.errors import Damaged, SourceChanged, Truncated, Unreadable
from ckpt_viewer.sources import folder as folder_module
from ckpt_viewer.sources.folder import Folder, is_plain_name
from ckpt_viewer.sources.pool import FilePool


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def files(tmp_path):
    for number in range(10):
        (tmp_path / f"{number}.bin").write_bytes(bytes([number]) * 100)
    return tmp_path


class TestNames:
    def test_files_and_folders_are_listed_apart(self, files):
        (files / "below").mkdir()
        folder = Folder(files)
        assert folder.files == tuple(f"{number}.bin" for number in range(10))
        assert folder.folders == ("below",)

    @pytest.mark.parametrize(
        "name", ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\\b", "C:x", "x\0y", "below/../../x"]
    )
    def test_a_name_that_leads_elsewhere_is_refused(self, files, name):
        assert not is_plain_name(name)
        with pytest.raises(Damaged, match="no plain name"):
            Folder(files).file(name)
        with pytest.raises(Damaged, match="no plain name"):
            Folder(files).folder(name)

    @pytest.mark.skipif(os.name != "posix", reason="such names exist on POSIX systems only")
    @pytest.mark.parametrize("name", ["epoch_3 12:30:00.pth", "a\\b.pth"])
    def test_an_entry_of_the_folder_is_opened_whatever_its_name(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"data")
        (tmp_path / f"{name}.d").mkdir()
        (tmp_path / f"{name}.d" / name).write_bytes(b"inner")
        folder = Folder(tmp_path)
        assert folder.file(name).read_at(0, 4) == b"data"
        assert folder.folder(f"{name}.d").file(name).read_at(0, 5) == b"inner"

    def test_a_folder_that_may_only_be_listed_is_not_called_empty(self, files, monkeypatch):
        def refuse(entry):
            raise PermissionError(13, "Permission denied")

        with monkeypatch.context() as patched:
            patched.setattr(folder_module.stat, "S_ISREG", refuse)  # root, as who CI runs, is refused nothing
            with pytest.raises(Unreadable, match=r"cannot be read \(Permission denied\)"):
                Folder(files)

    def test_links_to_regular_files_are_followed(self, tmp_path):
        blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "main"
        blobs.mkdir()
        snapshot.mkdir(parents=True)
        (blobs / "abc").write_bytes(b"data")
        (snapshot / "model.bin").symlink_to("../../blobs/abc")
        folder = Folder(snapshot)
        assert folder.files == ("model.bin",)
        assert folder.file("model.bin").read_at(0, 4) == b"data"

    def test_what_is_no_regular_file_is_left_out(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "nowhere").symlink_to("gone")
        (tmp_path / "device").symlink_to("/dev/zero")
        (tmp_path / "up").symlink_to("..")
        folder = Folder(tmp_path)
        assert folder.files == folder.folders == ()
        for name in ("pipe", "device", "nowhere"):
            with pytest.raises(Unreadable):
                folder.file(name)
        with pytest.raises(Unreadable, match="link to another folder"):
            folder.folder("up")

    def test_a_missing_folder_is_one_sentence(self, tmp_path):
        with pytest.raises(Unreadable, match=r"the folder cannot be read .*; check its path"):
            Folder(tmp_path / "gone")

    def test_too_many_names_are_refused(self, files, monkeypatch):
        monkeypatch.setattr(folder_module, "MOST_NAMES", 9)
        with pytest.raises(Unreadable, match="more than 9 entries"):
            Folder(files)


class TestPool:
    def test_many_files_need_few_descriptors(self, files):
        before = descriptors()
        pool = FilePool(most=3)
        opened = [pool.open(files / f"{number}.bin") for number in range(10)]
        for _ in range(2):
            for number, file in enumerate(opened):
                assert file.size == 100
                assert file.read_at(1, 5) == bytes([number]) * 5
                buffer = bytearray(2)
                file.read_into(98, memoryview(buffer))
                assert buffer == bytes([number]) * 2
                assert descriptors() <= before + 3
        pool.close()
        assert descriptors() == before
        with pytest.raises(Unreadable, match="not open any more"):
            opened[0].read_at(0, 1)

    def test_a_file_that_was_replaced_meanwhile_is_noticed(self, files):
        pool = FilePool(most=1)
        first = pool.open(files / "1.bin")
        pool.open(files / "2.bin")
        (files / "new").write_bytes(b"\xff" * 100)
        (files / "new").replace(files / "1.bin")
        with pytest.raises(SourceChanged, match="reload"):
            first.read_at(0, 1)
        (files / "1.bin").unlink()
        with pytest.raises(Unreadable, match="no such file"):
            first.read_at(0, 1)
        pool.close()

    def test_a_read_beyond_the_end_leaves_the_pool_whole(self, files):
        pool = FilePool(most=1)
        file = pool.open(files / "1.bin")
        with pytest.raises(Truncated):
            file.read_at(99, 2)
        assert file.read_at(99, 1) == b"\x01"
        pool.close()

    def test_a_file_that_is_being_read_is_not_closed_under_the_reader(self, files):
        pool = FilePool(most=1)
        first, second = pool.open(files / "1.bin"), pool.open(files / "2.bin")
        with pool.lent(first) as source:
            assert second.read_at(0, 1) == b"\x02"
            pool.close()
            assert source.read_at(0, 1) == b"\x01"
        with pytest.raises(Unreadable):
            source.read_at(0, 1)

    def test_threads_share_a_pool(self, files):
        pool = FilePool(most=2)
        opened = [pool.open(files / f"{number}.bin") for number in range(10)]
        wrong: list[object] = []

        def read(start: int) -> None:
            for turn in range(200):
                number = (start * 7 + turn) % 10
                try:
                    data = opened[number].read_at(turn % 90, 10)
                except BaseException as error:
                    wrong.append(error)
                else:
                    if data != bytes([number]) * 10:
                        wrong.append(data)

        threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pool.close()
        assert not wrong
