"""Which kind of answers training data has: one of a set of words, or spans of the context."""

import collections
from collections.abc import Iterable

import pipelines

# Answers of which each occurs so often, in the mean, are a set of words.
OFTEN = 5


class AnswerCounts:
    """What is counted of the answers of training data.

    Attributes:
        words: how often each answer occurs, the first of each question.
        unanswered: how many questions have none.

    Example:

    >>> question = pipelines.Record({"context": "a b", "answers": ["yes"], "starts": []})
    >>> AnswerCounts([question]).kind
    'words'
    """

    def __init__(self, records: Iterable[pipelines.Record]):
        self.words: collections.Counter[str] = collections.Counter()
        self.file = None
        self.records = self.unanswered = self.placed = self.inside = 0
        for record in records:
            self.file = self.file or record.file
            self.records += 1
            self.placed += bool(record["starts"])
            self.inside += any(answer in record["context"] for answer in record["answers"])
            self.unanswered += not record["answers"]
            self.words.update(record["answers"][:1])

    @property
    def kind(self) -> str:
        """`spans` where the data says so, or where most answers stand in their contexts and few recur; else `words`."""
        if self.placed or self.unanswered:
            return "spans"
        recur = self.records >= OFTEN * len(self.words)
        return "spans" if 2 * self.inside >= self.records and not recur else "words"

    def check(self, kind: str) -> None:
        """Raises an InputError if nothing can be learnt of these as answers of a kind."""
        if kind == "words" and self.unanswered:
            raise pipelines.InputError(
                f"{self.unanswered:,} of {self.records:,} questions have no answer, which goes with "
                "--config.answers=spans alone",
                self.file,
            )
        if kind == "words" and len(self.words) < 2:
            raise pipelines.InputError(
                f"every answer is {next(iter(self.words))!r}; two at least are needed to learn from",
                self.file,
            )
        if kind == "spans" and not self.inside:
            raise pipelines.InputError(
                "no answer stands in its context; for answers from a set of words --config.answers=words",
                self.file,
            )
