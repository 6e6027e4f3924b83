"""What the demonstrations train: a small network for a task's built-in data."""

import dataclasses
from collections.abc import Mapping

from keras_rnn.configs.config import Value


@dataclasses.dataclass(frozen=True)
class Demo:
    """What a task shows of itself.

    Arguments:
        about: the question that its built-in data asks, and where the data is from.
        settings: those of a small network that learns it in minutes.
        inputs: the export's inputs, and the field of a record that each is given.
        shown: the field that is printed beside the answer.
        right: the field with the right answer, or a list of all that are right.
        given: the export's output that holds the answer.
        files: whether the fields of `inputs` name files, whose bytes the export is given.
    """

    about: str
    settings: Mapping[str, Value]
    inputs: Mapping[str, str]
    shown: str
    right: str
    given: str
    files: bool = False


# Fewer padded lengths than would be chosen: networks as small as these would not repay their compiling.
DEMOS = {
    "translation": Demo(
        about="Which day is it? Dates in 48 languages, made from Babel's CLDR data, to ISO 8601.",
        settings={
            "tokenizer": "characters",
            "joint_vocabulary": False,
            "tie": "target",
            "embedding_dim": 32,
            "units": 64,
            "attention_units": 32,
            "dropout": 0.1,
            "label_smoothing": 0.0,
            "batch_size": 64,
            "epochs": 8,
            "learning_rate": 5e-3,
            "average": 0.99,
            "max_shapes": 3,
            "metric": "exact_match",
            "search.beam": 1,
        },
        inputs={"text": "source"},
        shown="source",
        right="target",
        given="output",
    ),
    "classification": Demo(
        about="Which language is it? Dates, times and lists of names, made from Babel's CLDR data.",
        settings={
            "tokenizer": "characters",
            "embedding_dim": 32,
            "units": 64,
            "epochs": 8,
            "batch_size": 64,
            "schedule": "constant",
            "average": 0.0,
            "max_shapes": 3,
            "dropout": 0.1,
            "word_dropout": 0.0,
        },
        inputs={"text": "text"},
        shown="text",
        right="label",
        given="label",
    ),
    "question_answering": Demo(
        about="Where is the map? Stories of people who walk about a house, take things and lose them.",
        settings={
            "units": 32,
            "embedding_dim": 32,
            "epochs": 12,
            "max_shapes": 2,
        },
        inputs={"context": "context", "question": "question"},
        shown="question",
        right="answers",
        given="answer",
    ),
    "summarization": Demo(
        about="What happened? Notices of a country's towns, whose names and numbers have to be copied.",
        settings={
            "units": 48,
            "decoder_units": 64,
            "embedding_dim": 32,
            "attention_units": 48,
            "vocabulary_size": 150,
            "dropout": 0.1,
            "word_dropout": 0.0,
            "label_smoothing": 0.0,
            "epochs": 4,
            "learning_rate": 5e-3,
            "average": 0.99,
            "max_shapes": 2,
            "metric": "exact_match",
            "search.beam": 2,
        },
        inputs={"text": "text"},
        shown="text",
        right="summary",
        given="output",
    ),
    "speech_recognition": Demo(
        about="Which number was dialled? Touch tones in noise, as ITU-T Q.23 has them.",
        settings={
            "units": 32,
            "epochs": 8,
            "batch_size": 16,
            "warmup_steps": 50,
            "learning_rate": 1e-2,
            "average": 0.9,
            "dropout": 0.1,
            "speed": 0.0,
            "vocal_tract": 0.0,
            "noise": False,
            "max_shapes": 2,
        },
        inputs={"audio": "audio"},
        shown="audio",
        right="text",
        given="transcript",
        files=True,
    ),
}
