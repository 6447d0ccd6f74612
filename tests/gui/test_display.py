from __future__ import annotations

import socket
import threading

import pytest

from ckpt_viewer.gui import display
from ckpt_viewer.gui.display import NoDisplay, choose_platform, wayland_problem, x11_problem


@pytest.fixture(autouse=True)
def no_connection_is_left():
    yield
    display.release()


class FakeX:
    """An X server that lets in whoever shows the cookie."""

    def __init__(self, port_socket, cookie):
        self.cookie, self.socket = cookie, port_socket
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                data = connection.recv(4096)
                connection.sendall(bytes([self.cookie in data, 0, 0, 0, 0, 0, 0, 0]))

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(5)


@pytest.fixture
def x_server():
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    server = FakeX(listening, b"0123456789abcdef")
    server.display = f"127.0.0.1:{port - 6000}"
    yield server
    server.close()


def authority(path, number: bytes, cookie: bytes):
    fields = [b"host", number, b"MIT-MAGIC-COOKIE-1", cookie]
    path.write_bytes(b"\1\0" + b"".join(len(field).to_bytes(2, "big") + field for field in fields))
    return str(path)


def test_an_x_server_lets_in_who_shows_the_cookie(x_server, tmp_path):
    number = x_server.display.partition(":")[2].encode()
    good = authority(tmp_path / "good", number, b"0123456789abcdef")
    bad = authority(tmp_path / "bad", number, b"wrong")
    assert x11_problem({"DISPLAY": x_server.display, "XAUTHORITY": good}) == ""
    refused = f"the X server at DISPLAY={x_server.display!a} does not let this user in"
    assert x11_problem({"DISPLAY": x_server.display, "XAUTHORITY": bad}) == refused
    assert x11_problem({"DISPLAY": x_server.display, "XAUTHORITY": str(tmp_path / "none")}) == refused


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "DISPLAY is not set"),
        (":4711", "no X server answers at DISPLAY=':4711'"),
        ("nonsense", "DISPLAY='nonsense' names no X server"),
        (":x", "DISPLAY=':x' names no X server"),
        (":99999", "no X server answers at DISPLAY=':99999'"),
    ],
)
def test_what_is_no_x_server(value, reason):
    assert x11_problem({"DISPLAY": value}) == reason


def test_a_torn_authority_file_is_no_cookie(tmp_path):
    whole = authority(tmp_path / "a", b"0", b"0123456789abcdef")
    data = (tmp_path / "a").read_bytes()
    for size in range(len(data)):
        (tmp_path / "a").write_bytes(data[:size])
        assert display._cookies({"XAUTHORITY": whole}, b"0") == []


def test_a_wayland_socket_has_to_answer(tmp_path):
    assert wayland_problem({}) == "WAYLAND_DISPLAY is not set"
    environ = {"WAYLAND_DISPLAY": "wl-0", "XDG_RUNTIME_DIR": str(tmp_path)}
    assert wayland_problem(environ) == f"no Wayland compositor answers at {tmp_path}/wl-0"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{tmp_path}/wl-0")
        listening.listen()
        assert wayland_problem(environ) == ""


def test_what_answers_is_chosen_in_order(monkeypatch):
    monkeypatch.setattr(display, "_problem", lambda name, environ: environ.get(name, ""))
    assert choose_platform({}, screenshot=False, system="linux") == "wayland"
    assert choose_platform({"wayland": "away"}, screenshot=False, system="linux") == "xcb"
    assert choose_platform({"QT_QPA_PLATFORM": "xcb"}, screenshot=False, system="linux") == "xcb"


def test_no_display_is_a_sentence(monkeypatch):
    monkeypatch.setattr(display, "_problem", lambda name, environ: f"{name} is away")
    with pytest.raises(
        NoDisplay, match=r"^there is no display to open a window on \(wayland is away; xcb is away\); use"
    ):
        choose_platform({}, screenshot=False, system="linux")
    with pytest.raises(NoDisplay, match=r"\(xcb is away\)"):
        choose_platform({"QT_QPA_PLATFORM": "xcb"}, screenshot=False, system="linux")


def test_off_screen_serves_whoever_asks_for_it():
    assert choose_platform({"QT_QPA_PLATFORM": "offscreen"}, screenshot=False, system="linux") == "offscreen"
    assert choose_platform({"DISPLAY": ":0"}, screenshot=True, system="linux") == "offscreen"
    assert choose_platform({}, screenshot=False, system="darwin") == ""


def test_other_platforms_need_their_plugin():
    assert choose_platform({"QT_QPA_PLATFORM": "minimal"}, screenshot=False, system="linux") == "minimal"
    assert choose_platform({"QT_QPA_PLATFORM": "nonsense"}, screenshot=True, system="linux") == "offscreen"
    with pytest.raises(NoDisplay, match=r"\(Qt's nonsense plugin does not load: "):
        choose_platform({"QT_QPA_PLATFORM": "nonsense"}, screenshot=False, system="linux")
    with pytest.raises(NoDisplay, match=r"\(WAYLAND_DISPLAY is not set\)"):
        choose_platform({"QT_QPA_PLATFORM": "wayland-egl"}, screenshot=False, system="linux")


def test_a_plugin_that_does_not_load_is_a_reason():
    assert display._plugin_problem("offscreen") == ""
    assert display._plugin_problem("nonsense").startswith("Qt's nonsense plugin does not load: ")
