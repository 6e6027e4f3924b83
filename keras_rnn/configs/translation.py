"""Translation: one text from another, as a sentence in another language or a date in another form.

A recurrent network reads the source in both directions; a decoder writes the target token by token and looks back at
the source at every step; a beam search inside the graph finds the translation.

    keras-rnn train --task=translation --train_data=train.en,train.de --dev_data=dev.en,dev.de --workdir=W

Data: two files with a sentence a line, or a table (TSV, CSV, JSONL) with the columns source and target.

Measured on two cores, default settings, seed 1, beam 5, sacrebleu (cased, detokenized): Multi30k, 29,000 pairs from
English to German, BLEU 39.2 on dev, the best of 16 epochs, the 11th, in 27 minutes; other work ran beside the first
two, the later ones took 86 to 90 s with their evaluations.

What follows was measured when the kernels of query and memory still began alike: BLEU 39.0 on dev and 37.9 on test2016,
which was looked at once; with `--config.epochs=13`, 38.1 on dev.

What attention does for long sentences, BLEU on dev by the number of source words, 8 epochs without
(`--config.attention=none`), the best of 6 with:

    words      to 8   9-11   12-14   15-18   from 19   all
    without    30.8   23.3    21.8    18.8      12.3   21.6
    with       44.0   39.7    36.3    34.4      26.8   36.6
"""

from keras_rnn.configs.config import BEAM, DELIMITER, Key, shared_keys


def keys() -> list[Key]:
    """The keys of translation, shared ones first."""
    shared = shared_keys(
        cell="gru",
        units=256,
        embedding_dim=256,
        tokenizer="sentencepiece",
        vocabulary_size=8000,
        max_length=100,
        dropout=0.4,
        batch_size=64,
        epochs=16,
        patience=0,
        learning_rate=2e-3,
        schedule="linear",
        warmup_steps=200,
        average=0.999,
    )
    # Not used here: pretrained vectors.
    shared = [key for key in shared if key.name != "vectors"]
    return [
        *shared,
        Key("joint_vocabulary", True, "one vocabulary for both sides", part="task"),
        Key(
            "tie",
            "all",
            "which weights are the target embeddings too: none, the output's (target), or also the source "
            "embeddings (all, with joint_vocabulary)",
            choices=("none", "target", "all"),
            part="task",
        ),
        Key(
            "attention",
            "bahdanau",
            "how the decoder looks at the source; none: it knows the encoder's last states alone",
            choices=(
                "bahdanau",
                "luong_dot",
                "luong_general",
                "luong_concat",
                "conditional",
                "none",
            ),
            part="task",
        ),
        Key(
            "attention_units",
            256,
            "size of an additive attention's hidden layer",
            minimum=1,
            part="task",
        ),
        Key(
            "coverage",
            False,
            "the attention (bahdanau, conditional) knows where it has looked before",
            part="task",
        ),
        Key("decoder_layers", 1, "recurrent layers of the decoder", minimum=1, part="task"),
        Key(
            "bridge",
            "learnt",
            "where the decoder's first states come from: a layer on the encoder's last ones, a copy, or zero",
            choices=("learnt", "copied", "zero"),
            part="task",
        ),
        Key(
            "word_dropout",
            0.0,
            "share of source tokens replaced by the unknown one in training",
            minimum=0,
            maximum=0.95,
        ),
        Key(
            "label_smoothing",
            0.1,
            "share of the target given to all tokens",
            minimum=0,
            maximum=0.9,
        ),
        Key(
            "scheduled_sampling",
            0.0,
            "share of the decoder's inputs in training that are its own guesses",
            minimum=0,
            maximum=1,
        ),
        Key(
            "batch_tokens",
            0,
            "source and target tokens in a training step, padding included, instead of batch_size; 0 = not so",
            minimum=0,
        ),
        Key(
            "metric",
            "bleu",
            "the score on dev that decides which checkpoint is the best",
            choices=("bleu", "chrf", "exact_match", "loss"),
        ),
        Key(
            "dev_beam",
            1,
            "beam of the translations that are scored after each epoch; the last scores are those of search.beam",
            minimum=1,
        ),
        BEAM,
        Key(
            "search.length_penalty",
            1.0,
            "more favours longer translations; 0 ranks by plain probability",
            minimum=0,
            live=True,
        ),
        Key(
            "search.coverage_penalty",
            0.0,
            "favours translations that have looked at all of the source",
            minimum=0,
            live=True,
        ),
        Key("search.n_best", 1, "translations to give for each text", minimum=1, live=True),
        Key("search.min_length", 0, "fewest tokens of a translation", minimum=0, live=True),
        Key(
            "search.max_length",
            0,
            "most tokens of a translation; 0 = twice as many as the source has, and ten",
            minimum=0,
            maximum=10000,
            live=True,
        ),
        Key("search.alignments", False, "give the attention weights too", live=True),
        Key(
            "search.forced",
            False,
            "predict: search nothing, score the targets that the input has",
            live=True,
        ),
        Key(
            "search.replace_unknown",
            True,
            "put the source word looked at in the place of an unknown one (tokenizer=words)",
            live=True,
        ),
        DELIMITER,
    ]
