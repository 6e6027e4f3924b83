"""Connectionist temporal classification: a label or nothing at each time step, and which labels that spells.

Label 0 is the blank. A path of labels, one a step, spells what is left when repetitions and then blanks are taken out:
`0 5 5 0 5` spells `5 5`. The probability of a sequence of labels is that of all paths which spell it.

Source: Graves et al. 2006, Connectionist Temporal Classification.
"""

import tensorflow as tf

from keras_rnn.models.search import LOWEST, Found

BLANK = 0


def ctc_loss(logits: tf.Tensor, steps: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """-log p(labels) of each row, `tf.nn.ctc_loss`, and whether the row has time enough to spell them at all.

    Arguments:
        logits: float32 [batch, time, labels].
        steps: int32 [batch], the real time steps.
        labels: int32 [batch, length], filled up with 0.

    Returns:
        float32 [batch], 0 where there is not time enough, and bool [batch].

    >>> labels = tf.constant([[1, 0], [2, 2]])
    >>> losses, possible = ctc_loss(tf.zeros([2, 2, 3]), tf.constant([2, 2]), labels)
    >>> round(9 * float(tf.exp(-losses[0]))), possible.numpy().tolist()  # of nine paths three spell [1]
    (3, [True, False])
    """
    lengths = tf.math.count_nonzero(labels, axis=1, dtype=tf.int32)
    # Between two equal labels a blank must stand.
    twice = (labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] != BLANK)
    possible = lengths + tf.math.count_nonzero(twice, axis=1, dtype=tf.int32) <= steps
    # So that neither the value nor the gradient of such a row is infinite.
    spelled = tf.where(possible, lengths, 0)
    losses = tf.nn.ctc_loss(
        labels, logits, spelled, steps, logits_time_major=False, blank_index=BLANK
    )
    return tf.where(possible, losses, 0.0), possible


def ctc_search(logits: tf.Tensor, steps: tf.Tensor, beam: int) -> Found:
    """The labels that the logits spell, in graph, not under XLA.

    Arguments:
        logits: float32 [batch, time, labels].
        steps: int32 [batch], the real time steps.
        beam: 1: what the likeliest path spells; more: what so many beginnings, kept at every step with the
            probability of all their paths, come to.

    Returns:
        A `Found` with one sequence a row, without alignments. Its score is the log-probability: of the path where
        beam is 1, else of the sequence, over the paths that were kept.

    >>> logits = tf.math.log([[[0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.2, 0.7], [0.1, 0.2, 0.7]]])
    >>> ctc_search(logits, [4], beam=1).tokens.numpy().tolist()
    [[[1, 2]]]
    """
    log_probabilities = tf.nn.log_softmax(logits)
    if beam == 1:
        path = tf.argmax(log_probabilities, axis=-1, output_type=tf.int32)
        real = tf.sequence_mask(steps, tf.shape(logits)[1])
        before = tf.pad(path[:, :-1], [[0, 0], [1, 0]], constant_values=-1)
        kept = real & (path != before) & (path != BLANK)
        tokens = tf.ragged.boolean_mask(path, kept).to_tensor(0)
        best = tf.reduce_max(log_probabilities, axis=-1)
        score = tf.reduce_sum(tf.where(real, best, 0.0), axis=1)
    else:
        # TensorFlow's decoder wants the blank behind the labels, and time first.
        turned = tf.concat([log_probabilities[:, :, 1:], log_probabilities[:, :, :1]], axis=-1)
        # One row and one step more, because it refuses to decode nothing.
        turned = tf.transpose(tf.pad(turned, [[0, 1], [0, 1], [0, 0]]), [1, 0, 2])
        (found,), scores = tf.nn.ctc_beam_search_decoder(
            turned, tf.pad(steps, [[0, 1]]), beam_width=beam, top_paths=1
        )
        tokens = tf.cast(tf.sparse.to_dense(found, default_value=-1), tf.int32)[:-1] + 1
        score = scores[:-1, 0]
    lengths = tf.math.count_nonzero(tokens, axis=1, dtype=tf.int32)
    return Found(tokens[:, None], lengths[:, None], score[:, None], score[:, None], None)


def ctc_alignment(logits: tf.Tensor, steps: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """When each label is said: the likeliest of all paths that spell the labels (Viterbi), in graph.

    Arguments:
        logits: float32 [batch, time, labels].
        steps: int32 [batch], the real time steps.
        labels: int32 [batch, length], filled up with 0.

    Returns:
        float32 [batch, length, time]: 1 where the path has this label, else 0.

    >>> logits = tf.math.log([[[0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.2, 0.7], [0.1, 0.2, 0.7]]])
    >>> ctc_alignment(logits, [4], [[1, 2]]).numpy()[0].tolist()
    [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]
    """
    labels = tf.cast(labels, tf.int32)
    batch, length = tf.shape(labels)[0], tf.shape(labels)[1]
    time = tf.shape(logits)[1]
    # Two steps more, which are not real: a loop that never runs has nothing to stack.
    logits = tf.pad(logits, [[0, 0], [0, 2], [0, 0]])
    # The places of a path: blank, first label, blank, second label, …, blank.
    places = tf.reshape(tf.stack([labels, tf.zeros_like(labels)], axis=-1), [batch, 2 * length])
    places = tf.pad(places, [[0, 0], [1, 0]])
    scores = tf.gather(tf.nn.log_softmax(logits), places, axis=2, batch_dims=1)
    scores = tf.transpose(scores, [1, 0, 2])  # [time, batch, places]
    # A blank may be left out between two labels that differ.
    before = tf.pad(places, [[0, 0], [2, 0]])[:, :-2]
    skips = (places != BLANK) & (places != before)
    real = tf.transpose(tf.sequence_mask(steps, tf.shape(logits)[1]))
    first = tf.range(2 * length + 1)[None] < 2
    begin = tf.where(first, scores[0], LOWEST)

    def shifted(best, by):
        return tf.pad(best, [[0, 0], [by, 0]], constant_values=LOWEST)[:, :-by]

    def forward(carried, inputs):
        best, _ = carried
        score, is_real = inputs
        ways = tf.stack([best, shifted(best, 1), tf.where(skips, shifted(best, 2), LOWEST)])
        came = tf.argmax(ways, axis=0, output_type=tf.int32)
        moved = tf.reduce_max(ways, axis=0) + score
        is_real = is_real[:, None]
        return tf.where(is_real, moved, best), tf.where(is_real, came, 0)

    start = (begin, tf.zeros_like(begin, tf.int32))
    best, came = tf.scan(forward, (scores[1:], real[1:]), start)
    best = tf.concat([begin[None], best], axis=0)[-1]
    # The end is the last label or the blank behind it.
    lengths = tf.math.count_nonzero(labels, axis=1, dtype=tf.int32)
    ends = tf.stack([2 * lengths, tf.maximum(2 * lengths - 1, 0)], axis=1)
    last = tf.gather(ends, tf.argmax(tf.gather(best, ends, batch_dims=1), axis=1), batch_dims=1)

    def backward(place, came):
        return place - tf.gather(came, place, batch_dims=1)

    path = tf.scan(backward, came, last, reverse=True)
    path = tf.transpose(tf.concat([path, last[None]], axis=0))  # [batch, time]
    said = 2 * tf.range(length)[None, :, None] + 1
    said = (path[:, None, :] == said) & tf.transpose(real)[:, None, :]
    return tf.cast(said & (labels != BLANK)[:, :, None], tf.float32)[:, :, :time]
