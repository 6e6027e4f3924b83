"""Speech recognition: its files, its model, its score, its answers."""

import collections
import functools
import os
from collections.abc import Sequence
from typing import Any

import keras
import ml_collections
import numpy as np
import tensorflow as tf

import pipelines
from keras_rnn import metrics, models, pictures
from keras_rnn.tasks.blocks import in_blocks, padded
from keras_rnn.tasks.inputs import format_of
from keras_rnn.tasks.sounds import SoundFeatures, read_sound
from keras_rnn.tasks.task import Server, Task, built, known_cell
from keras_rnn.tasks.texts import by_length
from keras_rnn.tasks.token_loss import token_loss

# Files that `predict` hears instead of reading them as a manifest.
SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".au")

# Sounds that one call of the model answers.
ANSWERED_TOGETHER = 16

# Frames and tokens together, padding included, that are scored at a time.
FRAMES_AT_ONCE = 8192

# Steps of the listener that a picture of its gates shows.
STEPS_SHOWN = 200

# An attending decoder may write as many tokens as the listener has steps, and these more.
MOST_MORE = 4


class SpeechRecognition(Task):
    """A text for a sound."""

    name = "speech_recognition"
    drawn = "alignment"
    reads = "sounds"
    metric = "wer"
    higher_is_better = False

    def __init__(self, config: ml_collections.ConfigDict):
        super().__init__(config)
        known_cell(config.cell)
        if config.halvings > config.layers:
            raise pipelines.InputError(
                f"--config.halvings={config.halvings}: it must be at most layers, {config.layers}"
            )
        slowest, fastest = pipelines.RATES
        if config.sample_rate and not slowest <= config.sample_rate <= fastest:
            raise pipelines.InputError(
                f"--config.sample_rate={config.sample_rate}: it must be 0, or from {slowest} to {fastest}"
            )
        self.attends = config.head == "attention"
        self.features: SoundFeatures | None = None

    @property
    def searches(self) -> bool:
        # What CTC's search reads is the same whatever the beam is.
        return self.attends and self.config.dev_beam != self.config.search.beam

    @property
    def input_column(self) -> str:
        return self.config.data.audio

    # Data

    def built_in_data(self, directory):
        return pipelines.write_tones(directory)

    def read(self, files, counts=None, answers=True, on_error="raise", form="table"):
        data = self.config.data
        return pipelines.read_manifest(
            files,
            data.audio,
            data.text,
            delimiter=data.delimiter or None,
            max_bytes=self.config.max_bytes,
            counts=counts,
            texts=answers,
            on_error=on_error,
            form=form,
        )

    def fit(self, records):
        given = self.parent.features if self.parent else None
        if given is not None and self.config.sample_rate not in (0, given.rate):
            raise pipelines.InputError(
                f"--config.sample_rate={self.config.sample_rate}: the run to begin with hears {given.rate} samples "
                "a second"
            )
        self.features = SoundFeatures.fit(self.config, records, given)

    @property
    def labels(self):
        return self.features.tokenizer.tokens_list

    def save(self, directory):
        self.features.save(directory)

    def load(self, directory, calibrated=True):
        self.features = SoundFeatures.load(self.config, directory)

    @property
    def columns(self):
        return {
            "features": pipelines.Column("float32", (self.config.mels,)),
            "frames": pipelines.Column.of_ids(self.features.max_frames + 1, scalar=True),
            "target": pipelines.Column.of_ids(self.features.tokenizer.size),
            # What dev transcripts are compared with, in bytes.
            "reference": pipelines.Column("uint8"),
        }

    def encode(self, records, counts=None, training=False):
        counts = collections.Counter() if counts is None else counts
        speed = self.config.speed if training else 0.0
        for chunk in pipelines.in_chunks(records):
            texts = [record["text"] for record in chunk]
            ids = self.features.tokenizer.encode(tf.constant(texts, tf.string))
            for record, row in zip(chunk, np.split(ids.values, ids.row_splits[1:-1]), strict=True):
                waveform, rate = read_sound(record, self.config.max_seconds)
                target = np.asarray(row)[: self.config.max_length]
                if self._left_out(record, waveform, rate, target, training, counts):
                    continue
                if training and len(row) > len(target):
                    counts[f"with text cut to {len(target)} tokens"] += 1
                text = record["text"].lower() if self.config.lower else record["text"]
                reference = b"" if training else text.encode("utf-8")
                for factor in sorted({1.0, 1.0 - speed, 1.0 + speed}):
                    spectrogram = self.features.spectrogram(waveform, rate, factor)
                    if training and self._needs(target) > self._steps(len(spectrogram)):
                        counts["with less time than text, left out"] += 1
                        continue
                    yield {
                        "features": spectrogram,
                        "frames": np.int32(len(spectrogram)),
                        "target": target,
                        "reference": np.frombuffer(reference, np.uint8),
                    }

    def _left_out(self, record, waveform, rate, target, training, counts) -> bool:
        """Whether an example is no good, and why; what is only cut is counted, too."""
        reason = ""
        if not record["text"].strip():
            reason = "without text"
        elif not len(waveform):
            # Its text is missed, and that counts.
            reason = "without sound" if training else ""
        elif self.features.is_too_long(waveform, rate):
            longest = f"{self.config.max_seconds:g} seconds"
            if not training:
                counts[f"cut to {longest}"] += 1
            else:
                reason = f"longer than {longest}"
        if reason:
            counts[f"{reason}, left out"] += 1
        return bool(reason)

    def _steps(self, frames: int) -> int:
        """Steps that the listener makes of frames."""
        return -(-frames // 2**self.config.halvings)

    def _needs(self, target: np.ndarray) -> int:
        """Steps that CTC needs for a text."""
        return len(target) + int(np.count_nonzero(target[1:] == target[:-1]))

    def batches(self, store, training):
        config = self.config
        options = {
            "length_columns": ["features", "target"],
            "fields": ["features", "frames", "target"],
            "batch_size": config.batch_size,
            "seed": config.seed,
        }
        if training:
            return pipelines.Batches(store, shuffle=True, max_shapes=config.max_shapes, **options)
        return pipelines.Batches(
            store, max_shapes=config.max_shapes, batch_tokens=FRAMES_AT_ONCE, **options
        )

    def real_tokens(self, batch):
        return tf.reduce_sum(tf.where(batch["real"], batch["frames"], 0))

    # Model

    def build_model(self):
        config = self.config
        mean, deviation = self.features.normalisation()
        speller = None
        if self.attends:
            speller = {
                "embedding_dim": config.embedding_dim,
                "units": config.units,
                "cell": config.cell,
                "attention_units": config.attention_units,
                "dropout": config.dropout,
            }
        augment = vocal_tract = None
        if config.frequency_masks or config.time_masks:
            augment = {
                "frequency_masks": config.frequency_masks,
                "frequency_width": config.frequency_width,
                "time_masks": config.time_masks,
                "time_share": config.time_share,
            }
        if config.vocal_tract:
            vocal_tract = {
                "extent": config.vocal_tract,
                "lowest": pipelines.LOWEST_HERTZ,
                "highest": self.features.rate / 2,
            }
        model = models.SpeechRecognizer(
            config.mels,
            self.features.tokenizer.size,
            listener={
                "units": config.units,
                "cell": config.cell,
                "layers": config.layers,
                "halvings": config.halvings,
                "bidirectional": config.bidirectional,
                "dropout": config.dropout,
                "recurrent_dropout": config.recurrent_dropout,
            },
            speller=speller,
            augment=augment,
            vocal_tract=vocal_tract,
            noise=config.noise,
            mean=mean,
            deviation=deviation,
            dropout=config.dropout,
        )
        return built(model, {"features": tf.zeros([1, 8, config.mels])})

    def label_axes(self, model):
        axes = [(model.ctc.kernel, (1,)), (model.ctc.bias, (0,))]
        if self.attends:
            speller = model.speller
            axes += [
                (speller.embedding.embeddings, (0,)),
                (speller.output_layer.kernel, (1,)),
                (speller.output_layer.bias, (0,)),
            ]
        return axes

    def loss(self, model, batch, training):
        target = batch["target"]
        lengths = tf.math.count_nonzero(target, axis=1, dtype=tf.int32)
        inputs = {"features": batch["features"], "frames": batch["frames"]}
        if self.attends:
            inputs["target"] = _ended(target, lengths)
        logits, steps, spelled = model(inputs, training=training)
        losses, possible = models.ctc_loss(logits, steps, target)
        real = tf.cast(batch["real"], tf.float32)
        outputs = (logits, steps)
        # Of a token, so that long texts weigh more, as they do in the error rate.
        counts = tf.cast(tf.maximum(lengths, 1), tf.float32)
        if not self.attends:
            return losses / counts, counts * real * tf.cast(possible, tf.float32), outputs
        smoothing = self.config.label_smoothing if training else 0.0
        spelled, hits = token_loss(tf.cast(spelled, tf.float32), inputs["target"], smoothing)
        share = self.config.ctc_weight
        written = tf.cast(inputs["target"] != pipelines.PADDING, tf.float32) * real[:, None]
        losses = (1 - share) * spelled + share * (losses / counts)[:, None]
        return losses, written, (hits, written)

    def training_metrics(self):
        return {"accuracy": keras.metrics.Mean(name="accuracy")} if self.attends else {}

    def update_metrics(self, metrics, batch, outputs):
        if metrics:
            metrics["accuracy"].update_state(*outputs)

    def forward(self, model, batch, last=False):
        losses, weights, outputs = self.loss(model, batch, training=False)
        if self.attends:
            beam = self.config.search.beam if last else self.config.dev_beam
            found = spell(self.config, model, batch["features"], batch["frames"], beam)
            outputs = found.tokens[:, 0]
        return losses, weights, outputs

    # Scores

    def judge(self, forward, batches):
        loss = tokens = 0.0
        answers = [""] * len(batches.store)
        # An attending decoder's search is part of `forward`.
        beam = self.config.search.beam
        for batch in batches.tensors():
            losses, weights, outputs = forward(batch)
            loss += float(tf.reduce_sum(losses * weights))
            tokens += float(tf.reduce_sum(weights))
            found = outputs if self.attends else models.ctc_search(*outputs, beam).tokens[:, 0]
            texts = self.features.tokenizer.decode(found).numpy()
            for number, text in zip(batch["index"].numpy(), texts, strict=True):
                if number >= 0:
                    answers[number] = text.decode("utf-8")
        references = [batches.store.text(number, "reference") for number in range(len(answers))]
        return {
            **metrics.recognition_scores(answers, references),
            "loss": loss / max(tokens, 1.0),
            "examples": len(answers),
        }

    # Answers

    def read_input(self, file, counts=None):
        for record in self._named(file, counts):
            if not isinstance(record, pipelines.InputError):
                try:
                    # Opened here, so that a sound which cannot be read is an error in its row.
                    read_sound(record, self.config.max_seconds)
                except pipelines.InputError as error:
                    record = error
            yield record

    def _named(self, file, counts):
        """The rows of a manifest, or the sounds themselves."""
        files = pipelines.expand(file)
        if all(os.path.splitext(name)[1].lower() in SOUNDS for name in files):
            return (pipelines.Record({"audio": name}) for name in files)
        form = format_of(file, self.input_column, self.config.data.delimiter)
        return self.read(file, counts, False, "yield", form)

    def server(self, model):
        return SpeechServer(self.config, self.features, model)

    def as_text(self, answer):
        return answer["transcript"]

    def as_row(self, record, answer):
        return {**record.row, self.config.data.text: answer["transcript"]}

    def word_vectors(self, model):
        return tf.transpose(model.ctc.kernel.value), self.features.tokenizer.tokens_list

    def draw(self, answer, title=""):
        if not answer["tokens"]:
            return None
        alignment = (answer["alignment"], answer["tokens"])
        return pictures.draw_recognition(
            answer["spectrogram"], *alignment, pipelines.FRAME_SECONDS, title
        )

    def pictures(self, server, records):
        shown, rows = {}, []
        records = [record for record in records if os.path.exists(record["audio"])]
        answers = server.explain(records)
        for number, (record, answer) in enumerate(zip(records, answers, strict=True)):
            name = os.path.basename(record["audio"])
            rows.append((name, record["text"], answer["transcript"]))
            figure = self.draw(answer)
            if figure is not None:
                shown[f"{self.drawn}/{number}"] = pictures.to_pixels(figure)[None]
        few = [answer["spectrogram"] for answer in answers[: pictures.GATES_SHOWN]]
        if any(len(spectrogram) for spectrogram in few):
            gates, real = server.gates(few)
            times = [_seconds(int(steps), server.step) for steps in real.sum(axis=1)]
            shown |= pictures.gates_pictures(gates, real, times, words=STEPS_SHOWN)
        table = pictures.markdown_table(["sound", "right", "given"], rows)
        return {"transcripts": table, **shown}


def spell(
    config: ml_collections.ConfigDict,
    model: keras.Model,
    features: tf.Tensor,
    frames: tf.Tensor,
    beam: int,
) -> models.Found:
    """Spells spectrograms [batch, time, mels] with the attending decoder."""
    halves = 2**config.halvings
    width = features.shape[1] or tf.shape(features)[1]
    limits = -(-frames // halves) + MOST_MORE
    inputs = {"features": features, "frames": frames}
    longest = -(-width // halves) + MOST_MORE
    if beam == 1:
        return models.greedy_search(model, inputs, longest, limits=limits)
    penalty = config.search.length_penalty
    return models.beam_search(
        model, inputs, longest, beam=beam, length_penalty=penalty, limits=limits
    )


class SpeechServer(Server):
    """Sounds to transcripts.

    Signatures:
        serving_default: of `audio` string[batch], the bytes of WAV files of any rate, width and number of channels:
            `transcript` string[batch], `score` float32[batch]
        waveform: of `waveform` float32[time], full scale from -1 to 1, and its `rate` int32: the same, of one row
        compiled: serving_default through XLA, in batches and lengths of a fixed set
        details: serving_default and `tokens` string[batch, tokens], padded with ""; `alignment` float32[batch, tokens,
            time], where each token is heard; `times` float32[batch, time], the middle of each of these steps in
            seconds. Of CTC the alignment is the likeliest path, of a decoder its attention

    The score is that of the search: the log-probability, of a decoder divided by the length penalty. A sound of no
    length has an empty transcript.
    """

    def __init__(
        self, config: ml_collections.ConfigDict, features: SoundFeatures, model: keras.Model
    ):
        super().__init__(name="speech_recognition")
        self.features = features
        self.weights = [variable.value for variable in model.weights]
        beam = config.search.beam
        self.attends = config.head == "attention"
        self.step = pipelines.FRAME_SECONDS * 2**config.halvings
        self.alignments = config.search.alignments

        # Behind functions, so that saving does not follow them into Keras.
        def hear(features, frames):
            """What goes through XLA: logits and steps, or tokens and scores."""
            if self.attends:
                found = spell(config, model, features, frames, beam)
                return found.tokens[:, 0], found.scores[:, 0]
            return model({"features": features, "frames": frames})[:2]

        self.hear = hear
        self.run_gates = lambda inputs: model.gates(inputs)
        self.beam = beam
        self.spell = lambda features, frames: spell(config, model, features, frames, beam)

    def signatures(self):
        audio = [tf.TensorSpec([None], tf.string, name="audio")]
        waveform = [
            tf.TensorSpec([None], tf.float32, name="waveform"),
            tf.TensorSpec([], tf.int32, name="rate"),
        ]
        inputs = {name: audio for name in ("serving_default", "compiled", "details")}
        inputs["waveform"] = waveform
        return {
            name: tf.function(getattr(self, "_" + name), input_signature=specs, autograph=False)
            for name, specs in inputs.items()
        }

    def _serving_default(self, audio: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.recognize(*_padded(self.features.read_wavs(audio)))

    def _waveform(self, waveform: tf.Tensor, rate: tf.Tensor) -> dict[str, tf.Tensor]:
        features = self.features.read(waveform, rate)[None]
        return self.explained(features, tf.shape(features)[1][None])

    def _details(self, audio: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.explained(*_padded(self.features.read_wavs(audio)))

    def _compiled(self, audio: tf.Tensor) -> dict[str, tf.Tensor]:
        run = tf.function(self.hear, jit_compile=True, autograph=False)
        longest = self.features.max_frames
        lengths = [-(-longest // part) for part in (4, 2, 1)]
        ragged = self.features.read_wavs(audio)
        steps = round(longest * pipelines.FRAME_SECONDS / self.step) + MOST_MORE + 1
        if self.attends:
            specs = [tf.TensorSpec([steps], tf.int32), tf.TensorSpec([])]
        else:
            vocabulary = self.features.tokenizer.size
            specs = [tf.TensorSpec([steps, vocabulary]), tf.TensorSpec([], tf.int32)]

        def compute(part, length):
            frames = tf.cast(part["features"].row_lengths(), tf.int32)
            heard, more = run(padded(part["features"], length), frames)
            padding = [[0, 0], [0, steps - tf.shape(heard)[1]]]
            return [tf.pad(heard, padding + [[0, 0]] * (len(heard.shape) - 2)), more]

        return self._result(*in_blocks({"features": ragged}, compute, lengths, specs))

    # Of spectrograms [batch, frames, mels] and their real frames [batch]

    def recognize(self, features: tf.Tensor, frames: tf.Tensor) -> dict[str, tf.Tensor]:
        """`transcript` and `score`."""
        return self._result(*self.hear(features, frames))

    def _result(self, heard: tf.Tensor, more: tf.Tensor) -> dict[str, tf.Tensor]:
        tokens, scores = heard, more
        if not self.attends:
            found = models.ctc_search(heard, more, self.beam)
            tokens, scores = found.tokens[:, 0], found.scores[:, 0]
        return {"transcript": self.features.tokenizer.decode(tokens), "score": scores}

    def explained(self, features: tf.Tensor, frames: tf.Tensor) -> dict[str, tf.Tensor]:
        """What `details` gives."""
        if self.attends:
            found = self.spell(features, frames)
            tokens, scores = found.tokens[:, 0], found.scores[:, 0]
            width = tf.reduce_max(tf.pad(found.lengths[:, 0], [[0, 1]]))
            tokens, alignment = tokens[:, :width], found.alignments[:, 0, :width]
            alignment *= tf.cast(tokens != pipelines.PADDING, tf.float32)[:, :, None]
        else:
            logits, steps = self.hear(features, frames)
            found = models.ctc_search(logits, steps, self.beam)
            tokens, scores = found.tokens[:, 0], found.scores[:, 0]
            alignment = models.ctc_alignment(logits, steps, tokens)
        names = tf.constant(["", *self.features.tokenizer.tokens_list[1:]])
        times = (tf.range(tf.shape(alignment)[2], dtype=tf.float32) + 0.5) * self.step
        rows = tf.shape(features)[0]
        return {
            "transcript": self.features.tokenizer.decode(tokens),
            "score": scores,
            "tokens": tf.gather(names, tokens),
            "alignment": alignment,
            "times": tf.repeat(times[None], rows, axis=0),
        }

    # In the process that trained it

    @functools.cached_property
    def _functions(self):
        specs = [
            tf.TensorSpec([None, None, self.features.mels]),
            tf.TensorSpec([None], tf.int32),
        ]
        return {
            name: tf.function(getattr(self, name), input_signature=specs, autograph=False)
            for name in ("recognize", "explained")
        }

    def gates(self, spectrograms: Sequence[np.ndarray]) -> tuple[dict[str, tf.Tensor], np.ndarray]:
        """The gates of the listener's last layer, name -> [batch, steps, units], and the real steps, bool."""
        gates, mask = self.run_gates(_batch(spectrograms))
        return gates, mask.numpy()

    def answer(self, records, counts=None):
        return [
            {name: answer[name] for name in answer if name != "spectrogram"}
            for answer in self._answers(records, self.alignments, counts)
        ]

    def explain(self, records: Sequence[pipelines.Record]) -> list[dict[str, Any]]:
        """Answers with `tokens`, `alignment`, `times`, and the `spectrogram` [frames, mels]."""
        return self._answers(records, True)

    def _answers(self, records, explained, counts=None) -> list[dict[str, Any]]:
        spectrograms = []
        seconds = self.features.max_samples / self.features.rate
        for record in records:
            waveform, rate = read_sound(record, seconds)
            if counts is not None and self.features.is_too_long(waveform, rate):
                counts[f"cut to {seconds:g} seconds"] += 1
            spectrograms.append(self.features.spectrogram(waveform, rate))
        run = self._functions["explained" if explained else "recognize"]

        def answers(some: list[np.ndarray]) -> list[dict[str, Any]]:
            result = {name: value.numpy() for name, value in run(**_batch(some)).items()}
            return [self._object(result, row, heard) for row, heard in enumerate(some)]

        return by_length(spectrograms, ANSWERED_TOGETHER, answers)

    def _object(
        self, result: dict[str, np.ndarray], row: int, spectrogram: np.ndarray
    ) -> dict[str, Any]:
        answer = {
            "transcript": result["transcript"][row].decode("utf-8"),
            "score": float(result["score"][row]),
        }
        if "alignment" in result:
            tokens = [token.decode("utf-8") for token in result["tokens"][row] if token]
            steps = -(-len(spectrogram) // round(self.step / pipelines.FRAME_SECONDS))
            answer["tokens"] = tokens
            answer["alignment"] = result["alignment"][row, : len(tokens), :steps].tolist()
            answer["times"] = [round(float(time), 4) for time in result["times"][row, :steps]]
            answer["spectrogram"] = spectrogram
        return answer


def _batch(spectrograms: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Spectrograms [frames, mels] as the model takes them, padded."""
    frames = np.array([len(spectrogram) for spectrogram in spectrograms], np.int32)
    features = np.zeros([len(frames), frames.max(), spectrograms[0].shape[1]], np.float32)
    for row, spectrogram in enumerate(spectrograms):
        features[row, : len(spectrogram)] = spectrogram
    return {"features": features, "frames": frames}


def _seconds(steps: int, step: float) -> list[str]:
    """The time at each step, about every fifth of a second, and "" between.

    >>> _seconds(7, 0.04)
    ['0.0', '', '', '', '', '0.2', '']
    """
    apart = max(1, round(0.2 / step))
    return [f"{n * step:.1f}" if n % apart == 0 else "" for n in range(steps)]


def _padded(ragged: tf.RaggedTensor) -> tuple[tf.Tensor, tf.Tensor]:
    return ragged.to_tensor(), tf.cast(ragged.row_lengths(), tf.int32)


def _ended(target: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Tokens with an end behind them, [batch, time + 1]."""
    place = tf.range(target.shape[1] + 1)
    padded = tf.pad(target, [[0, 0], [0, 1]])
    return tf.where(place == lengths[:, None], pipelines.END, padded)


TASK = SpeechRecognition
