"""The worker process: answers, dies, is restarted, and imports nothing from where the user stands."""

from __future__ import annotations

import json
import os
import signal
import threading

import pytest

from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.worker import PROGRAM, Worker, encoded

ECHO = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps({"id": request["id"], "result": request["params"]}), flush=True)
"""


@pytest.fixture
def echo():
    with Worker(ECHO) as worker:
        yield worker


@pytest.fixture(scope="module")
def real():
    with Worker() as worker:
        yield worker


@pytest.mark.torch
class TestReal:
    """With torch in it."""

    def test_devices(self, real):
        tags = real.request("devices")
        assert tags[0] == "cpu"
        info = real.request("device_info")
        assert [each["tag"] for each in info] == tags
        assert info[0]["memory"] > 0

    def test_what_torch_load_would_say(self, real):
        said = real.request("load_errors", {"tags": ["cpu", "CPU", "cuda:97"]})
        assert said["cpu"] == ""
        assert "don't know how to restore" in said["CPU"]
        assert said["cuda:97"]

    def test_unknown_methods_and_parameters_are_errors_not_crashes(self, real):
        pid = real.pid
        for method, params in (("launch", {}), ("devices", {"x": 1})):
            with pytest.raises(CheckpointError, match="the worker process failed"):
                real.request(method, params)
        assert real.pid == pid

    @pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
    def test_it_is_restarted_after_kill_9(self, real):
        real.request("devices")
        os.kill(real.pid, signal.SIGKILL)
        with pytest.raises(CheckpointError, match=r"ended unexpectedly \(signal 9\); try again"):
            real.request("devices")
        assert real.request("devices")[0] == "cpu"

    def test_a_torch_beside_the_checkpoint_is_not_imported(self, tmp_path, monkeypatch):
        mark = tmp_path / "imported"
        for name in ("torch", "json", "sitecustomize", "usercustomize"):
            (tmp_path / f"{name}.py").write_text(f"open({str(mark)!r}, 'w')")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "torch.py"))
        with Worker() as worker:
            assert worker.request("devices")[0] == "cpu"
        assert not mark.exists()


def test_it_runs_isolated_in_an_empty_folder_of_its_own(tmp_path):
    look = """
import json, os, sys
request = json.loads(sys.stdin.readline())
facts = [os.getcwd(), os.listdir(), sys.flags.isolated]
print(json.dumps({"id": request["id"], "result": facts}), flush=True)
sys.stdin.read()
"""
    with Worker(look) as worker:
        folder, files, isolated = worker.request("look")
        assert files == []
        assert isolated
        assert os.path.isdir(folder)  # noqa: PTH112
    assert not os.path.exists(folder)  # noqa: PTH110


@pytest.mark.skipif(os.name != "posix", reason="no such limits here")
def test_it_limits_itself():
    look = (
        PROGRAM.replace("main()", "")
        + """
import resource
from ckpt_viewer import worker_main
def look():
    names = ("RLIMIT_CORE", "RLIMIT_FSIZE", "RLIMIT_CPU", "RLIMIT_DATA")
    before = [resource.getrlimit(getattr(resource, name))[0] for name in names]
    try:
        with open("big", "wb") as file:
            file.write(bytes(2 << 20))
    except OSError as error:
        return [*before, error.strerror]
worker_main.METHODS["look"] = look
worker_main.main()
"""
    )
    with Worker(look) as worker:
        core, size, seconds, memory, problem = worker.request("look")
    assert (core, size) == (0, 1 << 20)
    assert 0 < seconds < 1000
    assert 0 < memory <= 8 << 30
    assert "too large" in problem


def test_what_libraries_print_does_not_get_among_the_answers():
    chatty = (
        PROGRAM.replace("main()", "")
        + """
import os
from ckpt_viewer import worker_main
def chat():
    print("hello", flush=True)
    os.write(1, b"{}")
    return "quiet"
worker_main.METHODS["chat"] = chat
worker_main.main()
"""
    )
    with Worker(chatty) as worker:
        assert worker.request("chat") == "quiet"


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("print('hello', flush=True); input()", "makes no sense"),
        ("print('[1]', flush=True); input()", "makes no sense"),
        ("print('{\"id\": 99}', flush=True); input()", "makes no sense"),
        ("import sys; sys.exit(3)", r"ended unexpectedly \(exit code 3\)"),
        ("import os; os.abort()", r"ended unexpectedly \(signal 6\)"),
        ("this is no Python", "ended unexpectedly"),
    ],
)
def test_nonsense_and_death_are_sentences(program, sentence):
    with Worker(program) as worker:
        for _ in range(2):  # and the next request meets a new process
            with pytest.raises(CheckpointError, match=sentence):
                worker.request("devices")


def test_silence_ends_after_the_timeout():
    with Worker("import time\nwhile True: time.sleep(9)") as worker:
        with pytest.raises(CheckpointError, match=r"no answer within 0\.2 s; try again"):
            worker.request("devices", timeout=0.2)
        assert worker.pid is None


def test_whoever_waits_may_give_up():
    class Enough(Exception):
        pass

    def waiting():
        raise Enough

    with Worker("input(); input()  # takes the request and says nothing") as worker:
        with pytest.raises(Enough):
            worker.request("devices", timeout=60, waiting=waiting)
        assert worker.pid is None
    with Worker("import time\nwhile True: time.sleep(9)") as worker:
        calls: list[int] = []
        with pytest.raises(CheckpointError, match="no answer within"):
            worker.request("devices", timeout=0.2, waiting=lambda: calls.append(1))
        assert calls


def test_an_answer_without_end_is_cut_off(monkeypatch):
    monkeypatch.setattr("ckpt_viewer.worker.LONGEST", 1000)
    with Worker("print('9' * 10_000_000, flush=True); input()") as worker, pytest.raises(CheckpointError):
        worker.request("devices")


def test_many_threads_may_ask(echo):
    results: dict[int, object] = {}

    def ask(number):
        results[number] = echo.request("echo", {"n": number})

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: {"n": number} for number in range(12)}


def test_text_passes_unharmed(echo):
    awkward = {"x": ["\n\r\u2028\x00 \ud800", 1 << 70, None, {"y": 0.1}]}
    assert echo.request("echo", awkward) == awkward


def test_closing_ends_a_request_under_way():
    worker = Worker("input(); input()  # takes the request and says nothing")
    asked, failed = threading.Event(), []

    def ask():
        asked.set()
        try:
            worker.request("devices", timeout=60)
        except CheckpointError as error:
            failed.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    asked.wait()
    while worker.pid is None and thread.is_alive():
        pass
    worker.close()
    thread.join(10)
    assert len(failed) == 1
    with pytest.raises(CheckpointError, match="was closed"):
        worker.request("devices")


def test_closing_twice_and_unused_is_fine():
    worker = Worker()
    worker.close()
    worker.close()


def test_no_process_is_left_behind():
    worker = Worker(ECHO)
    worker.request("echo")
    pid = worker.pid
    del worker
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_without_an_interpreter_there_is_a_sentence(monkeypatch):
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(CheckpointError, match="cannot be started"), Worker() as worker:
        worker.request("devices")


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 200])
def test_long_lists_are_written_in_pieces_that_make_the_same_document(length):
    request = {"id": 1, "params": {"rows": [['a\n"', n, None] for n in range(length)], "empty": {}, "deep": [[1], {}]}}
    pieces = list(encoded(request))
    assert json.loads(b"".join(pieces)) == request
    assert all(len(piece) < 2000 for piece in pieces)
    assert b"\n" not in b"".join(pieces)  # a request is one line
