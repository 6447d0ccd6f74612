"""The freedesktop.org association, in XDG folders of the test's own, held against what GLib makes of it."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ckpt_viewer.desktop.linux import FreedesktopBackend
from ckpt_viewer.errors import DesktopError
from ckpt_viewer.resources import sample_checkpoint

TYPE = "application/x-pytorch-checkpoint"
TOOLS = ("gio", "update-mime-database", "update-desktop-database")
needs_tools = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS),
    reason="needs libglib2.0-bin, shared-mime-info and desktop-file-utils",
)
LEGACY_START = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e") + b"\x80\x02M\xe9\x03."
LEGACY_PROTOCOL_4 = bytes.fromhex("8004950d000000000000008a0a6cfc9c46f9206aa850192e")


class Home:
    """A user of the test's own: XDG folders, environment, a program that notes what it is started with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data, self.config = folder / "share", folder / "config"
        self.notes = folder / "started with"
        self.environ = {
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "XDG_DATA_HOME": str(self.data),
            "XDG_CONFIG_HOME": str(self.config),
            "XDG_DATA_DIRS": "/usr/local/share:/usr/share",
            "GIO_USE_VFS": "local",
        }
        self.backend = FreedesktopBackend(self.environ)

    def program(self, name: str = "bin") -> str:
        """Write the program and return its path; the pipe that it opens tells when it has run."""
        script = self.folder / name / "ckpt-viewer"
        script.parent.mkdir(parents=True, exist_ok=True)
        if not self.notes.exists():
            os.mkfifo(self.notes)
        script.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > '{self.notes}'\n")
        script.chmod(0o755)
        return str(script)

    def ask(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def content_type(self, file: Path) -> str:
        answer = self.ask("gio", "info", "-a", "standard::content-type", str(file))
        return answer.split("standard::content-type: ")[1].split()[0]

    def snapshot(self) -> dict[str, bytes | None]:
        """Every file and folder below the XDG folders, with the files' bytes."""
        below = [*self.data.rglob("*"), *self.config.rglob("*"), self.data, self.config]
        return {str(path): path.read_bytes() if path.is_file() else None for path in below if path.exists()}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_install_reports_and_writes_everything(home: Home) -> None:
    report = home.backend.install([home.program()])
    assert report.installed
    entry = (home.data / "applications/ckpt-viewer.desktop").read_text()
    assert f"Exec={home.folder}/bin/ckpt-viewer view -- %F\n" in entry
    assert f"MimeType={TYPE};\n" in entry
    assert "StartupWMClass=ckpt-viewer\n" in entry
    assert "Terminal=false\n" in entry
    assert f"{TYPE}=ckpt-viewer.desktop;" in (home.config / "mimeapps.list").read_text()
    for name in ("scalable/apps/ckpt-viewer.svg", "16x16/apps/ckpt-viewer.png", "256x256/apps/ckpt-viewer.png"):
        assert (home.data / "icons/hicolor" / name).is_file()


def test_uninstall_of_a_fresh_home_leaves_nothing(home: Home) -> None:
    home.backend.install([home.program()])
    assert home.backend.uninstall().ok
    assert home.snapshot() == {}


def test_uninstall_restores_what_was_there(home: Home) -> None:
    (home.data / "applications").mkdir(parents=True)
    (home.data / "applications/other.desktop").write_text("[Desktop Entry]\nType=Application\nName=O\nExec=true\n")
    (home.data / "icons/hicolor").mkdir(parents=True)
    home.config.mkdir()
    home.config.chmod(0o750)
    defaults = f"# kept\n[Default Applications]\nx/y=other.desktop\n{TYPE}=other.desktop\n[Added Associations]\n"
    (home.config / "mimeapps.list").write_text(defaults)
    before = home.snapshot()
    home.backend.install([home.program()])
    home.backend.install([home.program()])
    assert home.backend.uninstall().ok
    left = home.snapshot()
    left.pop(str(home.data / "applications/mimeinfo.cache"), None)
    assert left == before


@needs_tools
def test_another_package_of_the_user_stays_registered(home: Home) -> None:
    home.backend.install([home.program()])
    other = home.data / "mime/packages/other.xml"
    other.write_text(
        '<mime-info xmlns="http://www.freedesktop.org/standards/shared-mime-info"><mime-type type="x/other">'
        '<comment>Other</comment><glob pattern="*.other"/></mime-type></mime-info>'
    )
    home.backend.uninstall()
    assert (home.data / "mime/types").read_text().split() == ["x/other"]
    assert other.exists()


def test_what_the_user_put_into_our_folders_stays(home: Home) -> None:
    home.backend.install([home.program()])
    (home.data / "icons/hicolor/16x16/apps/mine.png").write_bytes(b"mine")
    home.backend.uninstall()
    assert [path for path, data in home.snapshot().items() if data is not None] == [
        str(home.data / "icons/hicolor/16x16/apps/mine.png")
    ]


@needs_tools
def test_status_tells_each_state(home: Home) -> None:
    before = home.backend.status()
    assert (before.ok, before.installed) == (True, False)
    program = home.program()
    home.backend.install([program])
    now = home.backend.status()
    assert (now.ok, now.installed) == (True, True)
    assert any(program in line for line in now.lines)
    Path(program).unlink()
    gone = home.backend.status()
    assert (gone.ok, gone.installed) == (False, False)
    assert f"{program} is gone; run `ckpt-viewer desktop install` again." in gone.lines


def test_a_failing_status_changes_nothing(home: Home) -> None:
    home.backend.status()
    home.backend.uninstall()
    assert home.snapshot() == {}


def test_missing_tools_are_named(home: Home) -> None:
    home.environ["PATH"] = str(home.folder)
    report = FreedesktopBackend(home.environ).install([home.program()])
    assert not report.ok
    text = "\n".join(report.lines)
    assert "update-mime-database is missing: install the package shared-mime-info" in text
    assert "update-desktop-database is missing: install the package desktop-file-utils" in text
    FreedesktopBackend(home.environ).uninstall()
    assert home.snapshot() == {}


def test_a_tool_that_fails_is_reported(home: Home) -> None:
    tool = home.folder / "tools/update-mime-database"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho 'no space' >&2\nexit 3\n")
    tool.chmod(0o755)
    home.environ["PATH"] = str(tool.parent)
    report = FreedesktopBackend(home.environ).install([home.program()])
    assert not report.ok
    assert any(line.startswith("update-mime-database failed (no space); run it by hand") for line in report.lines)


def test_a_folder_that_cannot_be_made_is_one_sentence_and_leaves_nothing(home: Home) -> None:
    home.config.write_text("a file where the folder should be")
    with pytest.raises(DesktopError, match=r"^.*config.* cannot be changed: .*; nothing is installed$"):
        home.backend.install([home.program()])
    home.config.unlink()
    assert home.snapshot() == {}


def test_a_linked_mimeapps_list_stays_a_link(home: Home) -> None:
    real = home.folder / "dotfiles.list"
    real.write_text("[Added Associations]\n")
    real.chmod(0o600)
    home.config.mkdir()
    (home.config / "mimeapps.list").symlink_to(real)
    home.backend.install([home.program()])
    assert (home.config / "mimeapps.list").is_symlink()
    assert TYPE in real.read_text()
    assert real.stat().st_mode & 0o777 == 0o600
    home.backend.uninstall()
    assert real.read_text() == "[Added Associations]\n"


def test_a_lost_record_still_uninstalls_what_has_our_names(home: Home) -> None:
    home.backend.install([home.program()])
    (home.data / "ckpt-viewer/desktop.json").write_text("{broken")
    home.backend.uninstall()
    ours = [path for path, data in home.snapshot().items() if data is not None and "ckpt-viewer" in path]
    assert ours == []
    assert TYPE not in (home.config / "mimeapps.list").read_text()


def test_relative_xdg_folders_are_ignored(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "PATH": "", "XDG_DATA_HOME": "share", "XDG_CONFIG_HOME": ""}
    FreedesktopBackend(environ).install(["/usr/bin/true"])
    assert (tmp_path / ".local/share/applications/ckpt-viewer.desktop").is_file()
    assert (tmp_path / ".config/mimeapps.list").is_file()
    FreedesktopBackend(environ).uninstall()
    assert list(tmp_path.iterdir()) == []


def write_zip(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("hello.txt", "hello " * 100)
        archive.writestr("notes/data.pkl", pickle.dumps([1]))


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "zip.pth": (lambda file: shutil.copy(sample_checkpoint(), file), TYPE),
    "zip.pt": (lambda file: shutil.copy(sample_checkpoint(), file), TYPE),
    "zip.ckpt": (lambda file: shutil.copy(sample_checkpoint(), file), TYPE),
    "zip.pth.tar": (lambda file: shutil.copy(sample_checkpoint(), file), TYPE),
    "pytorch_model.bin": (lambda file: shutil.copy(sample_checkpoint(), file), TYPE),
    "no_suffix": (lambda file: shutil.copy(sample_checkpoint(), file), TYPE),
    "legacy.pth": (lambda file: file.write_bytes(LEGACY_START), TYPE),
    "legacy.bin": (lambda file: file.write_bytes(LEGACY_START), TYPE),
    "legacy4.bin": (lambda file: file.write_bytes(LEGACY_PROTOCOL_4), TYPE),
    "notes.txt": (lambda file: file.write_text("data.pkl\n"), "text/plain"),
    "notes.bin": (lambda file: file.write_text("just text\n"), "text/plain"),
    "other.zip": (write_zip, "application/zip"),
    "other.bin": (write_zip, "application/zip"),
    "pickle.bin": (lambda file: file.write_bytes(pickle.dumps({"a": 1}, protocol=2)), "application/octet-stream"),
    "firmware.bin": (lambda file: file.write_bytes(bytes([200, 3, 250, 0, 7] * 99)), "application/octet-stream"),
}


@needs_tools
def test_checkpoints_are_known_by_content_and_name_and_others_left_alone(home: Home) -> None:
    home.backend.install([home.program()])
    found = {}
    for name, (make, _) in KINDS.items():
        make(home.folder / name)
        found[name] = home.content_type(home.folder / name)
    assert found == {name: expected for name, (_, expected) in KINDS.items()}


@needs_tools
@pytest.mark.torch
def test_what_torch_writes_is_known_by_content(home: Home) -> None:
    torch = pytest.importorskip("torch")
    home.backend.install([home.program()])
    for zipped in (True, False):
        for protocol in (2, 4):
            file = home.folder / f"x{zipped}{protocol}.bin"
            torch.save({"a": torch.ones(3)}, file, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
            assert home.content_type(file) == TYPE


@needs_tools
def test_glib_names_our_entry_as_the_default(home: Home) -> None:
    home.backend.install([home.program()])
    assert "ckpt-viewer.desktop" in home.ask("gio", "mime", TYPE).splitlines()[0]
    home.backend.uninstall()
    assert "ckpt-viewer.desktop" not in home.ask("gio", "mime", TYPE)


@needs_tools
@pytest.mark.parametrize("folder", ["bin", "a b/$HOME/50%/it's", "öffnen \\ `x` (1)"])
def test_a_double_click_starts_the_program_with_the_file(home: Home, folder: str) -> None:
    home.backend.install([home.program(folder)])
    file = home.folder / "my run -- 3.pth"
    shutil.copy(sample_checkpoint(), file)
    with subprocess.Popen(["cat", str(home.notes)], stdout=subprocess.PIPE, text=True) as reader:
        try:
            home.ask("gio", "open", str(file))
            started, _ = reader.communicate(timeout=30)
        finally:
            reader.kill()
    assert started.splitlines() == ["view", "--", str(file)]
