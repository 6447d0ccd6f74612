"""Runs a program in this process and lets a test look at its widgets; to act it has the mouse and the keyboard only.

    python watched.py FD ckpt-viewer ARGUMENTS...     the real program, from its command line on
    python watched.py FD neighbour                    another program: a source of drags, a reader of the clipboard

A thread takes questions from the socket that is open as FD, one JSON list `[name, arguments...]` a line, has the GUI
thread answer each between two events, and writes the answer as a line of JSON. Nothing of it is in the product.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from PySide6.QtCore import QObject, Signal

from ckpt_viewer.gui import application


class Desk(QObject):
    """Lives on the GUI thread and answers there."""

    asked = Signal(object)

    def __init__(self, answers: Mapping[str, Callable[..., Any]], number: int) -> None:
        super().__init__()
        self._answers = answers
        self.asked.connect(self._answer)
        self._connection = socket.socket(fileno=number)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer no more."""
        self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _serve(self) -> None:
        with self._connection, self._connection.makefile("rw") as lines:
            print(json.dumps("ready"), file=lines, flush=True)
            for line in lines:
                question = Question(json.loads(line))
                self.asked.emit(question)
                question.answered.wait()
                print(question.answer, file=lines, flush=True)

    def _answer(self, question: Question) -> None:
        name, *arguments = question.asked
        try:
            question.answer = json.dumps({"answer": self._answers[name](*arguments)})
        except Exception as error:
            question.answer = json.dumps({"error": f"{type(error).__name__}: {error}"})
        question.answered.set()


class Question:
    """One question, and its answer once `answered` is set."""

    def __init__(self, asked: list[Any]) -> None:
        self.asked, self.answer = asked, ""
        self.answered = threading.Event()


def main() -> int:
    """Run what the command line names."""
    number, program, *arguments = sys.argv[1:]
    if program == "neighbour":
        import neighbour

        return neighbour.main(lambda answers: Desk(answers, int(number)))
    import looks

    make, kept = application.make_application, []

    def make_watched() -> application.Application:
        made = make()
        kept.append(Desk(looks.ANSWERS, int(number)))
        return made

    application.make_application = make_watched
    from ckpt_viewer.cli import main as run

    try:
        return run(arguments)
    finally:
        for desk in kept:
            desk.close()


if __name__ == "__main__":
    sys.exit(main())
