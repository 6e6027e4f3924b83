"""Summarization: a short text that says what a longer one is about.

A recurrent network reads the text in both directions; a decoder writes word after word, and at each step either a word
of its vocabulary or one that it copies from the text, also one that no vocabulary has (a pointer-generator).

    keras-rnn train --task=summarization --train_data=train.jsonl --dev_data=dev.jsonl --workdir=W

Data: JSONL (or TSV, CSV) with the columns text and summary. Without --train_data: notices of towns, made up.

Measured on 6,100 news descriptions of 17 to 62 words with their titles (AG News; 18 titles longer than their texts are
left out), of which half the words stand in the text: defaults below, `vectors` GloVe 6B, 50 dimensions, its first
20,000 words; seed 1, the best of 20 epochs, the 13th, on 500 dev examples. ROUGE by rouge-score without stemming, its
F-measure; lead is the first 16 words, the best k by ROUGE-L on the training data. In brackets the middle 95 of 100
bootstrap samples.

| | ROUGE-1 | ROUGE-2 | ROUGE-L |
|---|---|---|---|
| lead-16 | 0.198 | 0.053 | 0.169 (0.158 to 0.180) |
| beam 5 | 0.245 | 0.055 | 0.234 (0.219 to 0.251) |
| greedy, `search.beam=1` | 0.259 | 0.055 | 0.244 |
| no word twice, `search.block_ngrams=1`, `search.length_penalty=2` | 0.276 | 0.063 | 0.255 |

It took 13 min 32 s on two cores that other work shared, 11 min 24 s of CPU time. The titles are shorter than the right
ones, 5.4 words of 7.1; 10 % of their words and 77 % of their pairs of words are not in the text, of the right ones 51 %
and 85 %. The commonest fault is a name said twice. The settings of the last row were chosen on dev. All
this when the kernels of query and memory still began alike.
"""

from keras_rnn.configs.config import BEAM, DELIMITER, VECTORS_SIZE, Key, shared_keys


def keys() -> list[Key]:
    """The keys of summarization, shared ones first."""
    shared = shared_keys(
        units=128,
        embedding_dim=0,
        vocabulary_size=5000,
        min_count=3,
        lower=True,
        max_length=400,
        dropout=0.4,
        batch_size=32,
        epochs=20,
        patience=0,
        learning_rate=2e-3,
        schedule="linear",
        warmup_steps=200,
        average=0.998,
    )
    # What is copied are words.
    shared = [key for key in shared if key.name != "tokenizer"]
    return [
        *shared,
        Key("decoder_units", 256, "size of the decoder's state", minimum=1, part="task"),
        Key("attention_units", 128, "size of the attention's hidden layer", minimum=1, part="task"),
        Key(
            "coverage",
            True,
            "the attention knows where it has looked before",
            part="task",
        ),
        Key(
            "coverage_weight",
            0.1,
            "weight of the loss for looking where it has looked before; 0 = none",
            minimum=0,
        ),
        Key(
            "word_dropout",
            0.1,
            "share of the text's words replaced by the unknown one in training",
            minimum=0,
            maximum=0.95,
        ),
        Key(
            "label_smoothing",
            0.1,
            "share of the target given to all words of the vocabulary",
            minimum=0,
            maximum=0.9,
        ),
        VECTORS_SIZE,
        Key("vectors_trainable", False, "go on training pretrained vectors"),
        Key(
            "metric",
            "rougeL",
            "the score on dev that decides which checkpoint is the best",
            choices=("rouge1", "rouge2", "rougeL", "exact_match", "loss"),
        ),
        Key(
            "dev_beam",
            1,
            "beam of the summaries that are scored after each epoch; the last scores are those of search.beam",
            minimum=1,
        ),
        BEAM,
        Key(
            "search.length_penalty",
            1.0,
            "more favours longer summaries; 0 ranks by plain probability",
            minimum=0,
            live=True,
        ),
        Key(
            "search.block_ngrams",
            3,
            "no run of so many words stands in a summary twice; 0 = it may",
            minimum=0,
            live=True,
        ),
        Key("search.n_best", 1, "summaries to give for each text", minimum=1, live=True),
        Key("search.min_length", 0, "fewest words of a summary", minimum=0, live=True),
        Key(
            "search.max_length",
            0,
            "most words of a summary; 0 = as many as the longest one of the training data has",
            minimum=0,
            maximum=10000,
            live=True,
        ),
        Key(
            "search.alignments",
            False,
            "give where each word looked and whether it was copied, too",
            live=True,
        ),
        Key("data.text", "text", "column of the text; several, comma-separated, are joined"),
        Key("data.summary", "summary", "column of the summary"),
        DELIMITER,
    ]
