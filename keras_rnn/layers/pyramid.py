"""Half as many time steps, each of two."""

from typing import Any

import keras
from keras import ops

from keras_rnn.registration import register

Tensor = Any


@register
class HalveTime(keras.layers.Layer):
    """Puts each pair of time steps side by side: y_t = [x_2t; x_2t+1].

    Between recurrent layers it makes a pyramid: what lies above has fewer steps to walk and to be looked at. A step
    is real if its first half is; a half that is not real is 0, and so is the one that an odd length lacks.

    Call arguments: `x` [batch, time, features]; `mask` bool [batch, time], the real steps at the beginning of each row:
    that which `x` carries where none is given, all where it carries none. Gives [batch, ⌈time / 2⌉, 2 · features] and
    the mask that goes with it.

    Source: Chan et al. 2016, Listen, Attend and Spell, equation 5.

    >>> import numpy as np
    >>> x = np.arange(1.0, 6.0).reshape(1, 5, 1)
    >>> y, mask = HalveTime()(x, mask=np.array([[True, True, True, False, False]]))
    >>> y.numpy()[0].tolist(), mask.numpy()[0].tolist()
    ([[1.0, 2.0], [3.0, 0.0], [0.0, 0.0]], [True, True, False])
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, x: Tensor, mask: Tensor | None = None):
        if mask is None:
            mask = ops.ones(ops.shape(x)[:2], "bool")
        mask = ops.cast(mask, "bool")
        x = ops.where(mask[:, :, None], x, ops.zeros((), x.dtype))
        batch, time, features = ops.shape(x)
        half = (time + 1) // 2
        x = ops.pad(x, [[0, 0], [0, 2 * half - time], [0, 0]])
        return ops.reshape(x, (batch, half, 2 * features)), mask[:, ::2]

    def compute_mask(self, x: Tensor, previous_mask: Tensor | None = None) -> None:
        """The mask is among what `call` gives."""
        return None
