"""Speech recognition: what is said in a sound, as characters or words.

Log-mel spectrograms, a pyramid of recurrent layers in both directions that halves the time steps on its way up, and on
top of it CTC (a label or nothing at each step) or a decoder that attends and knows where it looked a step ago. Training
hears each sound at three speeds, from other vocal tracts, in noise, and with parts of the spectrogram blanked out.

    keras-rnn train --task=speech_recognition --train_data=train.jsonl --dev_data=dev.jsonl --workdir=W

Data: a manifest, JSONL (or CSV, TSV) with the columns audio, a WAV file's name relative to the manifest, and text.
Without --train_data: dialled touch-tone numbers.

Measured on connected digits of the Free Spoken Digit Dataset, 900 sounds to train and 200 dev, one to four digits by
four speakers at 8 kHz; default settings, seed 1, dev, the best of 24 epochs, on two cores that other work shared; CPU
is the time of the process on both cores together, compilation included:

| head | wer | cer | exact | CPU | time |
|---|---|---|---|---|---|
| ctc | 0.025 | 0.018 | 0.940 | 4.0 min | 4.2 min |
| attention | 0.022 | 0.018 | 0.945 | 5.8 min | 8.1 min |

A speaker never heard is harder: CTC trained on three of them, 652 sounds, with `max_shapes=5`, has a wer of 0.167 on
the fourth's 57.

With words as tokens, as by default, only words of the training texts are written; --config.tokenizer=characters spells
others too.
"""

from keras_rnn.configs.config import BEAM, DELIMITER, Key, shared_keys


def keys() -> list[Key]:
    """The keys of speech recognition, shared ones first."""
    shared = shared_keys(
        units=64,
        layers=3,
        tokenizer="words",
        embedding_dim=64,
        dropout=0.3,
        batch_size=32,
        epochs=24,
        patience=0,
        learning_rate=3e-3,
        schedule="linear",
        warmup_steps=200,
        average=0.99,
    )
    return [
        # Not used here: vectors of words.
        *[key for key in shared if key.name != "vectors"],
        Key(
            "head",
            "ctc",
            "what writes the text: ctc, a label or nothing at each step; attention, a decoder that looks back",
            choices=("ctc", "attention"),
            part="task",
        ),
        Key(
            "ctc_weight",
            0.3,
            "head=attention: share of the loss that CTC has all the same; it teaches the encoder where things are",
            minimum=0,
            maximum=0.95,
        ),
        Key("attention_units", 64, "size of the attention's hidden layer", minimum=1, part="task"),
        Key(
            "label_smoothing",
            0.1,
            "head=attention: share of the target given to all tokens",
            minimum=0,
            maximum=0.9,
        ),
        Key(
            "halvings",
            2,
            "layers, from the lowest, that read two steps as one; a step is 10 ms before them",
            minimum=0,
            maximum=6,
            part="task",
        ),
        Key(
            "sample_rate",
            0,
            "samples a second that sounds are brought to; 0 = those of the first training sound",
            minimum=0,
            maximum=192000,
        ),
        Key("mels", 40, "bands of the spectrogram", minimum=4, maximum=256, part="task"),
        Key(
            "normalisation",
            "utterance",
            "bands have mean 0 and deviation 1 within each sound, or over all training sounds",
            choices=("utterance", "global"),
            part="task",
        ),
        Key(
            "max_seconds",
            30.0,
            "longest sound; training leaves longer ones out, else the rest is cut",
            minimum=0.1,
            maximum=86400.0,
        ),
        Key(
            "speed",
            0.1,
            "training also hears each sound slower and faster by this share; 0 = as it is, alone",
            minimum=0,
            maximum=0.5,
        ),
        Key(
            "vocal_tract",
            0.15,
            "share by which training stretches the axis of frequencies at most; 0 = never",
            minimum=0,
            maximum=0.5,
        ),
        Key("noise", True, "add noise in training"),
        Key("frequency_masks", 2, "bands of frequencies that training blanks out", minimum=0),
        Key("frequency_width", 8, "the widest of them, in mels", minimum=1),
        Key("time_masks", 2, "stretches of time that training blanks out", minimum=0),
        Key(
            "time_share",
            0.08,
            "the longest of them, as a share of the padded length",
            minimum=0,
            maximum=1,
        ),
        Key(
            "dev_beam",
            1,
            "head=attention: beam of the transcripts that are scored after each epoch; the last scores are those of "
            "search.beam",
            minimum=1,
        ),
        BEAM,
        Key(
            "search.length_penalty",
            1.0,
            "head=attention: more favours longer transcripts; 0 ranks by plain probability",
            minimum=0,
            live=True,
        ),
        Key("search.alignments", False, "give when each token is said, too", live=True),
        Key("data.audio", "audio", "column of the sound's file name"),
        Key("data.text", "text", "column of the text; several, comma-separated, are joined"),
        DELIMITER,
    ]
