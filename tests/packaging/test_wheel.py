"""A wheel, and a wheel made from the source distribution, carry the program, its resources and the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
RESOURCES = [path.relative_to(ROOT / "resources") for path in (ROOT / "resources").rglob("*") if path.is_file()]
REPORT = """
import sys, ckpt_viewer, ckpt_viewer.resources as resources
print(ckpt_viewer.__file__)
print(resources.sample_checkpoint())
print(resources.app_icon(16))
print(resources.resource("mime", "ckpt-viewer.xml"))
"""

pytest.importorskip("hatchling", reason="building needs the dev extra")


def build(source: Path, target: str, out: Path) -> Path:
    """Build `source` as a "wheel" or "sdist" and return the file."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "wheel", tmp_path_factory.mktemp("direct"))


@pytest.fixture(scope="module")
def by_sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    archive = build(ROOT, "sdist", folder / "dist")
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            assert member.isreg()
            assert not member.name.startswith("/")
            assert ".." not in member.name
            target = folder / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            content = tar.extractfile(member)
            assert content is not None
            target.write_bytes(content.read())
    (source,) = (path for path in folder.iterdir() if path.name != "dist")
    return build(source, "wheel", folder / "wheel")


def members(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith(".dist-info/RECORD")}


def test_the_wheel_holds_every_resource_and_the_command(direct: Path) -> None:
    held = members(direct)
    for resource in RESOURCES:
        assert held[f"ckpt_viewer/_resources/{resource.as_posix()}"] == (ROOT / "resources" / resource).read_bytes()
    (entry_points,) = (data for name, data in held.items() if name.endswith("entry_points.txt"))
    assert b"ckpt-viewer = ckpt_viewer.cli:entry" in entry_points
    assert not [name for name in held if name.startswith(("tests/", "packaging/"))]
    assert any(name.endswith("LICENSE") for name in held)


def test_the_source_distribution_makes_the_same_wheel(direct: Path, by_sdist: Path) -> None:
    assert members(by_sdist) == members(direct)


def test_the_installed_wheel_finds_its_own_resources(direct: Path, tmp_path: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(tmp_path)]
    subprocess.run([*install, str(direct)], check=True, capture_output=True, timeout=120)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", REPORT], cwd=elsewhere, env=environ, capture_output=True, text=True, check=True
    )
    for line in done.stdout.splitlines():
        assert Path(line).is_relative_to(tmp_path)
        assert Path(line).is_file()
    listing = subprocess.run(
        [sys.executable, str(tmp_path / "bin" / "ckpt-viewer"), "ls", done.stdout.splitlines()[1], "--json"],
        cwd=elsewhere,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(listing.stdout)["format"] == "torch-zip"
