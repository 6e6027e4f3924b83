"""Text classification: one label, or several, for each text.

A text's words become vectors, an RNN reads them in both directions, attention pools the states, one
product gives a score for each label.

    keras-rnn train --task=classification --train_data=train.tsv --dev_data=dev.tsv --workdir=W

Data: CSV or TSV with a header, or JSONL, with a column for the text and one for the label.

Measured on dev with the defaults below, the best epoch of each of the seeds 1, 2 and 3. `vectors` is GloVe 6B, 50
dimensions, its first 20,000 words. With seed 1, `keras-rnn train` took from start to end 45 s, 51 s and 48 s on two
cores.

| data | accuracy | median |
|---|---|---|
| SST-2, sentences | 0.8050, 0.8016, 0.8096 | 0.8050 |
| SST-2, sentences, with vectors | 0.8222, 0.8200, 0.8245 | 0.8222 |
| SNIPS intents | 0.9829, 0.9829, 0.9871 | 0.9829 |
"""

from keras_rnn.configs.config import DELIMITER, VECTORS_SIZE, Key, shared_keys


def keys() -> list[Key]:
    """The keys of classification, shared ones first."""
    return [
        *shared_keys(
            units=64,
            embedding_dim=0,
            dropout=0.5,
            learning_rate=3e-3,
            schedule="linear",
            epochs=8,
            patience=0,
            average=0.998,
        ),
        Key(
            "pooling",
            "attention",
            "how the states of all words become one vector",
            choices=("attention", "self_attention", "max", "mean", "last"),
            part="task",
        ),
        Key(
            "skip",
            True,
            "pool each word's vector beside its state (not with pooling=last)",
            part="task",
        ),
        Key("attention_units", 64, "size of the attention's hidden layer", minimum=1, part="task"),
        Key(
            "attention_rows",
            4,
            "attentions side by side, for self_attention",
            minimum=1,
            part="task",
        ),
        Key(
            "attention_penalty", 0.0, "weight of self_attention's penalty on alike rows", minimum=0
        ),
        Key(
            "hierarchical",
            False,
            "read words within sentences, then sentences within the document (for long texts)",
            part="task",
        ),
        Key("sentence_length", 40, "longest sentence in words, for hierarchical", minimum=1),
        Key("characters", False, "give each word a vector of its characters as well", part="task"),
        Key(
            "character_units",
            32,
            "size of that vector's half, for characters",
            minimum=1,
            part="task",
        ),
        Key("word_length", 20, "most characters read of a word, for characters", minimum=1),
        Key(
            "word_dropout",
            0.5,
            "share of training words replaced by the unknown word",
            minimum=0,
            maximum=0.95,
        ),
        VECTORS_SIZE,
        Key("vectors_trainable", True, "go on training pretrained vectors"),
        Key("class_weights", "none", "weigh rare labels up", choices=("none", "balanced")),
        Key(
            "label_smoothing",
            0.0,
            "share of the target given to all labels",
            minimum=0,
            maximum=0.9,
        ),
        Key("data.text", "text", "column of the text; several, comma-separated, are joined"),
        Key("data.label", "label", "column of the label"),
        DELIMITER,
        Key(
            "data.multilabel_separator",
            "",
            "what separates the labels of one text, | say; given, a text may have any number of them",
        ),
    ]
