"""What a user can mend, said in one line."""

from __future__ import annotations

import os


class InputError(ValueError):
    """An error in what the user gave: a file, a column, a label, a setting, a full disk.

    The commands print it and exit with status 1; nobody needs a traceback to mend it.

    Arguments:
        message: what is wrong and what would be right; line ends become blanks.
        file: the file it was found in, if any.
        line: the line in that file, counted from 1, if any.

    Example:

    >>> print(InputError("the row has 3 fields, the header has 2", "train.tsv", 7))
    train.tsv:7: the row has 3 fields, the header has 2
    """

    def __init__(
        self, message: str, file: str | os.PathLike | None = None, line: int | None = None
    ):
        self.message = " ".join(str(message).splitlines())
        self.file = None if file is None else os.fspath(file)
        self.line = line
        super().__init__(self.message, self.file, self.line)

    def __str__(self) -> str:
        if self.file is None:
            return self.message
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{' '.join(place.splitlines())}: {self.message}"
