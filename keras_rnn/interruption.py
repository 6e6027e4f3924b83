"""Ctrl-C: a training finishes and saves its step before it ends; all else ends at once."""

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def remembered() -> Iterator[list[bool]]:
    """Within the context Ctrl-C raises KeyboardInterrupt, as always, and the list that it gives is no longer empty.

    Deep in a library the exception may come out as any other, or be lost. SIGTERM ends the process in order, so that
    nothing half-written stays behind.
    """
    came = []

    def end(*_):
        raise SystemExit(128 + signal.SIGTERM)

    def come(*_):
        came.append(True)
        raise KeyboardInterrupt

    # Python lets no other thread say what a signal does.
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {
        number: signal.signal(number, handler)
        for number, handler in ((signal.SIGINT, come), (signal.SIGTERM, end))
    }
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Interrupted(KeyboardInterrupt):
    """A training that was asked to end, and has."""


class Interruption:
    """Within the context Ctrl-C and SIGTERM only ask; a second one ends the process as it always would."""

    def __init__(self):
        self.asked = False
        self._handlers = {}

    def check(self) -> None:
        """Raises Interrupted if it was asked for."""
        if self.asked:
            raise Interrupted

    def __enter__(self):
        # Python lets no other thread say what a signal does.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *error):
        self._restore()

    def _ask(self, *_) -> None:
        self.asked = True
        self._restore()

    def _restore(self) -> None:
        while self._handlers:
            signal.signal(*self._handlers.popitem())
