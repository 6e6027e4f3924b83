"""Ctrl-C in a training: the step is finished and saved before it ends."""

import signal
import threading


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
