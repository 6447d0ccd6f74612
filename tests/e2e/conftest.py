"""The real program in an X server of its own: see desktop_driver.py. Skipped only where the tools are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from desktop_driver import Hand, Watched, environment, missing_tools, x_server
from made_files import write_checkpoint
from viewer import Viewer

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, and skip those that need a screen where there can be none."""
    missing = missing_tools()
    for item in items:
        if item.path.is_relative_to(HERE) and "display" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xvfb)
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"needs {missing} to drive a window"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Where a test failed, say where the picture of the screen is."""
    report = yield
    neighbour, folder = (getattr(item, "funcargs", {}).get(name) for name in ("neighbour", "tmp_path"))
    if report.when == "call" and report.failed and neighbour is not None and folder is not None:
        neighbour.ask("picture", str(folder / "screen.png"))
        report.sections.append(("screen", str(folder / "screen.png")))
    return report


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    with x_server() as display:
        yield display


@pytest.fixture(scope="session")
def neighbour(display: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Another program in the same X server: a source of drags, a reader of screen and clipboard."""
    home = tmp_path_factory.mktemp("neighbour")
    program = Watched(environment(home, display), home / "errors", "neighbour")
    yield program
    program.close()


@pytest.fixture(scope="session")
def hand(display: str) -> Hand:
    return Hand(display)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's home, empty."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def start(display: str, neighbour: Watched, home: Path, tmp_path: Path) -> Iterator[Callable[..., Viewer]]:
    """Start the program with arguments: ``start(file, "--map-location", "cpu")``."""
    started: list[Viewer] = []

    def start_one(*arguments: object) -> Viewer:
        errors = tmp_path / f"errors-{len(started)}"
        started.append(Viewer(environment(home, display), errors, *arguments))
        return started[-1]

    yield start_one
    for each in started:
        each.close()


@pytest.fixture
def checkpoint_file(home: Path) -> Path:
    """A resume checkpoint of epoch 7, saved on cuda:1."""
    return write_checkpoint(home / "run.pth")


@pytest.fixture
def open_viewer(start: Callable[..., Viewer]) -> Callable[..., Viewer]:
    """Start the program with a file and wait until the panel of the root has answered; it has the keyboard."""

    def open_one(file: Path, *arguments: object) -> Viewer:
        viewer = start(file, *arguments)
        viewer.says("rootHeading")
        viewer.focus(file.name)
        return viewer

    return open_one
