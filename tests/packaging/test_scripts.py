"""run.sh and test.sh in a checkout of the test's own, with stand-ins for everything that would be downloaded."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
COMMANDS = ("bash", "cat", "cksum", "dirname", "basename", "env", "grep", "ls", "mkdir", "mktemp", "rm", "sed", "uname")

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")

PYTHON = r"""#!{bash}
# A Python that notes what it is asked for; "-m venv" makes a folder with another one and a ckpt-viewer.
printf 'python %s\n' "$*" >>"{log}"
case "$*" in
*"import sys, venv, ensurepip"*) exit {venv_code} ;;
*"import pip, sys"*) exit 0 ;;
-V) echo "Python {version}" ;;
"-m venv"*)
    folder=${{!#}}
    mkdir -p "$folder/bin"
    echo "home = x" >"$folder/pyvenv.cfg"
    cat "$0" >"$folder/bin/python"
    cat "{program}" >"$folder/bin/ckpt-viewer"
    "{chmod}" +x "$folder/bin/python" "$folder/bin/ckpt-viewer"
    ;;
*pytest*) printf 'in %s with %s\n' "$PWD" "$QT_QPA_PLATFORM" >>"{log}" ;;
*"pip install"*) exit {pip_code} ;;
esac
"""
PROGRAM = r"""#!{bash}
printf 'ckpt-viewer %s [%s]\n' "$*" "${{QT_QPA_PLATFORM:-}}" >>"{log}"
"""


class Machine:
    """A checkout and a PATH that holds only what the test puts there."""

    def __init__(self, folder: Path) -> None:
        self.checkout, self.bin, self.log = folder / "a checkout", folder / "bin", folder / "log"
        self.home, self.work = folder / "home", folder / "work"
        for new in (self.bin, self.home, self.work):
            new.mkdir()
        shutil.copytree(ROOT / "packaging", self.checkout / "packaging")
        shutil.copy(ROOT / "pyproject.toml", self.checkout)
        (self.checkout / "resources/sample").mkdir(parents=True)
        (self.checkout / "resources/sample/model_3.pth").touch()
        self.bash = shutil.which("bash")
        for name in COMMANDS:
            found = shutil.which(name)
            assert found is not None, name
            (self.bin / name).symlink_to(found)
        self.tool("id", 'echo "${FAKE_UID:-1000}"')
        self.tool("ldconfig", 'echo "$FAKE_LIBRARIES"')
        self.python()

    def tool(self, name: str, body: str) -> None:
        path = self.bin / name
        path.write_text(f'#!{self.bash}\nprintf \'{name} %s\\n\' "$*" >>"{self.log}"\n{body}\n')
        path.chmod(0o755)

    def python(self, venv_code: int = 0, pip_code: int = 0, version: str = "3.11.2") -> None:
        """Put a python3 there; `venv_code` 1 stands for too old or without the venv module."""
        program = self.bin.parent / "program"
        program.write_text(PROGRAM.format(bash=self.bash, log=self.log))
        text = PYTHON.format(
            bash=self.bash,
            log=self.log,
            program=program,
            venv_code=venv_code,
            pip_code=pip_code,
            version=version,
            chmod=shutil.which("chmod"),
        )
        (self.bin / "python3").write_text(text)
        (self.bin / "python3").chmod(0o755)

    def debian(self, installed: bool) -> None:
        """Add dpkg-query and apt-get; the packages are there from the start, or once apt-get has run."""
        done = self.bin.parent / "installed"
        if installed:
            done.touch()
        answer = f'[ -e "{done}" ] || exit 1\nshift 2\nfor package; do echo "$package installed"; done'
        self.tool("dpkg-query", answer)
        self.tool("apt-get", f'case "$*" in *install*) : >"{done}" ;; esac')

    def run(self, script: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        every = "libEGL.so.1 libGL.so.1 libxkbcommon.so.0 libxkbcommon-x11.so.0 libdbus-1.so.3 libxcb-cursor.so.0 "
        every += "libxcb-icccm.so.4 libxcb-image.so.0 libxcb-keysyms.so.1 libxcb-randr.so.0 libxcb-render-util.so.0 "
        every += "libxcb-shape.so.0 libxcb-xinerama.so.0 libxcb-xkb.so.1 libfontconfig.so.1"
        return subprocess.run(
            [str(self.bash), str(self.checkout / "packaging" / script), *arguments],
            cwd=self.work,
            env={"PATH": str(self.bin), "HOME": str(self.home), "FAKE_LIBRARIES": every, **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def lines(self, start: str) -> list[str]:
        """What was logged since the last call, as far as it begins with `start`."""
        logged = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [line for line in logged if line.startswith(start)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def pip_calls(lines: list[str]) -> list[str]:
    return [line.split("--no-input ")[1] for line in lines if "pip install" in line]


def test_the_first_run_installs_torch_alone_then_the_checkout(machine: Machine) -> None:
    done = machine.run("run.sh", DISPLAY=":7")
    assert done.returncode == 0, done.stderr
    calls = pip_calls(machine.lines("python"))
    assert calls == [
        "--quiet pip>=22",
        "--quiet torch==2.13.0",
        f"--quiet --constraint {machine.checkout}/packaging/constraints.txt --editable {machine.checkout}",
    ]


def test_the_second_run_installs_nothing(machine: Machine) -> None:
    machine.debian(installed=True)
    machine.run("run.sh", DISPLAY=":7")
    machine.lines("")
    assert machine.run("run.sh", DISPLAY=":7").returncode == 0
    sample = machine.checkout / "resources/sample/model_3.pth"
    assert machine.lines("") == ["python -V", f"ckpt-viewer view -- {sample} []"]


@pytest.mark.parametrize("file", ["pyproject.toml", "packaging/constraints.txt"])
def test_a_changed_requirement_installs_again(machine: Machine, file: str) -> None:
    machine.run("run.sh", DISPLAY=":7")
    with (machine.checkout / file).open("a") as changed:
        changed.write("# changed\n")
    machine.lines("")
    machine.run("run.sh", DISPLAY=":7")
    assert len(pip_calls(machine.lines("python"))) == 3


def test_a_new_python_installs_again(machine: Machine) -> None:
    machine.run("run.sh", DISPLAY=":7")
    inner = machine.checkout / ".venv/bin/python"
    inner.write_text(inner.read_text().replace("3.11.2", "3.12.0"))
    machine.lines("")
    machine.run("run.sh", DISPLAY=":7")
    assert len(pip_calls(machine.lines("python"))) == 3


def test_what_the_tests_need_is_enough_for_the_program(machine: Machine) -> None:
    machine.debian(installed=True)
    assert machine.run("test.sh").returncode == 0
    assert pip_calls(machine.lines("python"))[-1].endswith(f"--editable {machine.checkout}[dev]")
    machine.run("run.sh", DISPLAY=":7")
    assert pip_calls(machine.lines("python")) == []


def test_a_file_is_relative_to_where_the_user_is(machine: Machine) -> None:
    (machine.work / "my run 3.pth").touch()
    done = machine.run("run.sh", "my run 3.pth", DISPLAY=":7")
    assert done.returncode == 0, done.stderr
    assert machine.lines("ckpt-viewer") == [f"ckpt-viewer view -- {machine.work}/my run 3.pth []"]


@pytest.mark.parametrize("display", [{"DISPLAY": ":7"}, {"WAYLAND_DISPLAY": "wayland-0"}])
def test_with_a_display_a_window_opens(machine: Machine, display: dict[str, str]) -> None:
    machine.run("run.sh", **display)
    (line,) = machine.lines("ckpt-viewer")
    assert line.startswith("ckpt-viewer view -- ")


def test_without_a_display_it_paints_lists_and_says_where(machine: Machine) -> None:
    (machine.work / "ls").touch()
    done = machine.run("run.sh", "ls")
    picture = machine.home / ".cache/ckpt-viewer/ls.png"
    assert machine.lines("ckpt-viewer") == [
        f"ckpt-viewer {machine.work}/ls --screenshot {picture} [offscreen]",
        f"ckpt-viewer ls {machine.work}/ls []",
    ]
    assert done.stdout.endswith(f"Screenshot: {picture}\n")


def test_a_file_that_is_not_there_is_told_before_anything_is_installed(machine: Machine) -> None:
    done = machine.run("run.sh", "gone.pth")
    assert done.returncode == 2
    assert done.stderr == (
        "ckpt_viewer: gone.pth: there is no such file; give the path of a checkpoint, or none for the sample\n"
    )
    assert not (machine.checkout / ".venv").exists()


def test_two_files_and_unknown_options_are_refused(machine: Machine) -> None:
    (machine.work / "a").touch()
    assert "one file at a time" in machine.run("run.sh", "a", "a").stderr
    assert "there is no option --fast" in machine.run("run.sh", "--fast").stderr
    assert machine.run("run.sh", "--help").stdout.startswith("Set everything up and open a checkpoint")


def test_test_sh_runs_pytest_in_the_checkout_off_screen(machine: Machine) -> None:
    machine.run("test.sh", "-k", "two words", CKPT_VIEWER_VENV="venv of mine")
    logged = machine.lines("")
    assert "python -m pytest --numprocesses auto --dist loadfile -k two words" in logged
    assert f"in {machine.checkout} with offscreen" in logged
    assert (machine.work / "venv of mine/bin/python").exists()


def test_no_good_python_is_one_sentence(machine: Machine) -> None:
    machine.python(venv_code=1)
    done = machine.run("run.sh")
    assert done.returncode == 2
    assert done.stderr.startswith("ckpt_viewer: no Python 3.10 or newer with the venv module was found; install one")
    done = machine.run("run.sh", PYTHON="/opt/old/python3")
    assert "was found at /opt/old/python3; install one" in done.stderr


def test_another_python_of_the_path_is_taken_when_the_first_is_too_old(machine: Machine) -> None:
    shutil.copy(machine.bin / "python3", machine.bin / "python3.12")
    machine.python(venv_code=1)
    assert machine.run("run.sh", DISPLAY=":7").returncode == 0
    assert machine.lines("ckpt-viewer") != []


def test_a_failing_pip_is_one_sentence_and_tried_again(machine: Machine) -> None:
    machine.python(pip_code=1)
    done = machine.run("run.sh", DISPLAY=":7")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("ckpt_viewer: pip could not install what is needed; see the lines")
    inner = machine.checkout / ".venv/bin/python"
    inner.write_text(inner.read_text().replace("exit 1", "exit 0"))
    assert machine.run("run.sh", DISPLAY=":7").returncode == 0


def test_a_folder_that_is_no_environment_is_left_alone(machine: Machine) -> None:
    (machine.work / "mine").mkdir()
    (machine.work / "mine/file").touch()
    done = machine.run("run.sh", CKPT_VIEWER_VENV=str(machine.work / "mine"))
    assert done.returncode == 2
    assert "is no virtual environment" in done.stderr
    assert (machine.work / "mine/file").exists()


def test_debian_packages_are_installed_by_root(machine: Machine) -> None:
    machine.debian(installed=False)
    assert machine.run("test.sh", FAKE_UID="0").returncode == 0
    (install,) = machine.lines("apt-get")
    assert "libegl1" in install
    assert "xdotool" in install


def test_debian_packages_are_installed_by_sudo_without_a_password(machine: Machine) -> None:
    machine.debian(installed=False)
    machine.tool("sudo", 'shift; "$@"')
    assert machine.run("run.sh", DISPLAY=":7").returncode == 0
    (install,) = machine.lines("apt-get")
    assert "libxcb-cursor0" in install
    assert "xdotool" not in install


def test_debian_packages_are_named_where_they_may_not_be_installed(machine: Machine) -> None:
    machine.debian(installed=False)
    machine.tool("sudo", "exit 1")
    for _ in range(2):
        done = machine.run("run.sh", DISPLAY=":7")
        assert done.returncode == 0
        assert (
            "these Debian packages are missing; install them with: sudo apt-get install libegl1 libgl1" in done.stderr
        )
    assert machine.lines("apt-get") == []


def test_elsewhere_missing_libraries_are_named(machine: Machine) -> None:
    done = machine.run("run.sh", DISPLAY=":7", FAKE_LIBRARIES="libEGL.so.1 libGL.so.1")
    assert done.returncode == 0
    assert "Qt needs these libraries, which were not found" in done.stderr
    assert "libxcb-cursor.so.0" in done.stderr
    assert "libEGL.so.1 " not in done.stderr


def test_one_build_of_torch_inside_the_range_of_the_package() -> None:
    lines = (ROOT / "packaging/constraints.txt").read_text().splitlines()
    assert [line for line in lines if line.startswith("torch")] == ["torch==2.13.0"]
    assert '"torch>=2.2"' in (ROOT / "pyproject.toml").read_text()


def test_every_script_is_valid_bash() -> None:
    for script in [*(ROOT / "packaging").glob("*.sh"), ROOT / ".ci" / "run"]:
        subprocess.run(["bash", "-n", str(script)], check=True)
        assert script.suffix == ".sh" or os.access(script, os.X_OK)
