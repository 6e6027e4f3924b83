"""Question answering: a word or a span for a question about a text.

Two kinds of answers, told by the data or by `answers`:

words: one of the answers that the training data has, as in stories of the bAbI kind. A recurrent network reads each
sentence, others read the sentences in their order, in several hops, of which each makes of the question what is left
to ask.
spans: a piece of the text, as in SQuAD, or nothing. Recurrent networks read question and text, the text beside an
attention to the question; two pointers find the first and the last word together.

    keras-rnn train --task=question_answering --train_data=train.jsonl --dev_data=dev.jsonl --workdir=W

Data: JSONL (or TSV, CSV) with `context`, `question`, `answer`, and maybe `task`, the kind of question; or SQuAD's JSON.

Measured on dev, the command above with the defaults below, seed 1, on two cores: eight of the bAbI tasks (1, 4, 6, 9,
10, 12, 15, 20), 3,000 questions each, trained jointly: accuracy 0.9975, the best of 40 epochs was the 39th; 0.982 on
task 4, at least 0.998 on each of the others. It took 7 min 23 s from start to end, compilation included.
"""

from keras_rnn.configs.config import DELIMITER, VECTORS_SIZE, Key, shared_keys

# Answers are told by words, and by where they stand.
UNUSED = ("tokenizer",)


def keys() -> list[Key]:
    """The keys of question answering, shared ones first."""
    shared = shared_keys(
        cell="gru",
        units=32,
        embedding_dim=64,
        lower=True,
        max_length=2500,
        dropout=0.1,
        batch_size=64,
        epochs=40,
        patience=0,
        learning_rate=3e-3,
        schedule="linear",
        warmup_steps=200,
        clip_norm=5.0,
    )
    return [
        *[key for key in shared if key.name not in UNUSED],
        Key(
            "answers",
            "detect",
            "what an answer is: one of a set of words, or a span of the context; detect looks at the training data",
            choices=("detect", "words", "spans"),
        ),
        Key(
            "hops",
            4,
            "how often the sentences of a context are read, for words",
            minimum=1,
            part="task",
        ),
        Key(
            "sentence_length",
            40,
            "most tokens of a sentence, for words; a longer one goes on as the next sentence",
            minimum=1,
        ),
        Key(
            "answer_length",
            15,
            "most tokens of an answer, for spans",
            minimum=1,
            maximum=100,
            live=True,
        ),
        Key(
            "word_dropout",
            0.0,
            "share of training words replaced by the unknown word, for words",
            minimum=0,
            maximum=0.95,
        ),
        VECTORS_SIZE,
        Key("vectors_trainable", False, "go on training pretrained vectors"),
        DELIMITER,
    ]
