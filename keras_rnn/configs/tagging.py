"""Sequence tagging: a tag for each token, as parts of speech, entities or slots.

A token's vector is made of its word's, of its characters', of its spelling's and, if given, of a pretrained one; a
recurrent network reads the sentence in both directions; a conditional random field finds the best sequence of tags.

    keras-rnn train --task=tagging --train_data=train.conllu --dev_data=dev.conllu --workdir=W

Data: CoNLL-U (`.conllu`), or columns with a token and its tag on each line and a blank line between sentences.

Measured on dev with the defaults below, seed 1, two cores, `keras-rnn train` from start to end, compilation included.
`vectors` is GloVe 6B, 50 dimensions, its first 20,000 words.

| data | settings beside the defaults | score | best epoch | time |
|---|---|---|---|---|
| UD English EWT | vectors | accuracy 0.9538 | 16 | 4 min 23 s |
| WikiANN en | vectors | f1 0.7770 | 9 | 5 min 4 s |
| SNIPS slots | | f1 0.9678 | 13 | 3 min 34 s |
| UD Telugu MTG | | accuracy 0.9184 | 17 | 36 s |
"""

from keras_rnn.configs.config import VECTORS_SIZE, Key, shared_keys


def keys() -> list[Key]:
    """The keys of tagging, shared ones first."""
    shared = shared_keys(
        units=128,
        embedding_dim=64,
        lower=True,
        dropout=0.5,
        learning_rate=2e-3,
        schedule="linear",
        epochs=20,
        patience=0,
        average=0.999,
        clip_norm=5.0,
    )
    return [
        *shared,
        Key(
            "crf",
            True,
            "tags look at their neighbours: a conditional random field; else a softmax",
            part="task",
        ),
        Key(
            "scheme",
            "detect",
            "how the tags of the data spell spans; detect looks at the training data",
            choices=("detect", "BIO", "IOB1", "IOBES", "plain"),
        ),
        Key(
            "model_scheme",
            "BIO",
            "scheme that the model works in for data in BIO or IOB1; answers come in that of the data",
            choices=("BIO", "IOBES"),
        ),
        Key(
            "constrain",
            True,
            "let the field give only sequences that the scheme permits",
        ),
        Key(
            "characters",
            "cnn",
            "vector of each word from its characters: a convolution, or an LSTM in both directions",
            choices=("none", "cnn", "rnn"),
            part="task",
        ),
        Key(
            "character_units",
            32,
            "size of that vector for each width or direction",
            minimum=1,
            part="task",
        ),
        Key("word_length", 20, "characters read of a word; of a longer one both ends", minimum=2),
        Key(
            "attributes",
            True,
            "vectors of the shape of a word (Xx, 9-9), of its last letters and its first",
            part="task",
        ),
        Key("attribute_dim", 16, "size of each of these vectors", minimum=1, part="task"),
        Key(
            "word_dropout",
            0.25,
            "share of training words replaced by the unknown word, whose vector is learnt so",
            minimum=0,
            maximum=0.95,
        ),
        Key("skip", True, "give the tags each word's vector beside its state", part="task"),
        VECTORS_SIZE,
        Key("vectors_trainable", False, "go on training pretrained vectors"),
        Key(
            "data.token_column",
            "first",
            "column of the tokens: first, last or a number from 0, negative from the end",
        ),
        Key(
            "data.tag_column",
            "last",
            "column of the tags, likewise; in CoNLL-U upos (last), xpos or the name of a feature",
        ),
    ]
