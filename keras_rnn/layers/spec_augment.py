"""What training does to spectrograms, so that no sound is heard twice alike."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_rnn import draws
from keras_rnn.registration import register

Tensor = Any


class _Perturbation(keras.layers.Layer):
    """Does something to `x` [batch, time, mels] in training, and nothing otherwise."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        return self.perturb(x) if training else x

    def perturb(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def uniform(self, *shape, minval: float = 0.0, maxval: float = 1.0) -> Tensor:
        return draws.uniform(shape, self.seed_generator, minval, maxval)

    def compute_output_shape(self, x_shape):
        return x_shape


@register
class SpecAugment(_Perturbation):
    """Blanks out bands of frequencies and stretches of time: what is blank is 0, the mean of a normalised spectrogram.

    Each mask is as wide as a uniform draw from 0 to its width. It begins at a uniform draw from 0 to what is left
    beside it, both rounded down, so that the last band and the last step are never blank.

    Arguments:
        frequency_masks, frequency_width: how many masks, and the widest one in bands.
        time_masks, time_share: how many, and the widest one as a share of the time of the batch.

    Call arguments: `x` [batch, time, mels]; `training`.

    Source: Park et al. 2019, SpecAugment, section 2; without its time warping, which they found to matter least.

    >>> x = ops.ones([2, 50, 40])
    >>> blanked = SpecAugment(frequency_width=20)(x, training=True)
    >>> sorted(set(np.asarray(blanked).flatten().tolist()))
    [0.0, 1.0]
    """

    def __init__(
        self,
        frequency_masks: int = 2,
        frequency_width: int = 8,
        time_masks: int = 2,
        time_share: float = 0.1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.config = {
            "frequency_masks": frequency_masks,
            "frequency_width": frequency_width,
            "time_masks": time_masks,
            "time_share": time_share,
        }

    def perturb(self, x):
        batch, time, mels = ops.shape(x)
        config = self.config
        kept = self._kept(batch, config["frequency_masks"], mels, config["frequency_width"])
        x = ops.where(kept[:, None, :], x, ops.zeros((), x.dtype))
        widest = config["time_share"] * ops.cast(time, "float32")
        kept = self._kept(batch, config["time_masks"], time, widest)
        return ops.where(kept[:, :, None], x, ops.zeros((), x.dtype))

    def _kept(self, batch, masks: int, size, widest) -> Tensor:
        """Which of `size` places no mask covers, bool [batch, size]."""
        width = self.uniform(batch, masks, 1) * (widest + 1)
        start = self.uniform(batch, masks, 1) * (ops.cast(size, "float32") - width)
        place = ops.cast(ops.arange(size), "float32")
        # Width and start as whole numbers, so that a width of less than 1 covers nothing.
        width, start = ops.floor(width), ops.floor(start)
        return ~ops.any((place >= start) & (place < start + width), axis=1)

    def get_config(self):
        return {**super().get_config(), **self.config}


@register
class VocalTract(_Perturbation):
    """Stretches the axis of frequencies by a factor for each row, as a longer or shorter vocal tract does.

        out(f) = x(α f),    α uniform from 1 - extent to 1 + extent

    between the middles of the bands by linear interpolation; above the highest band that one goes on.

    Arguments:
        extent: how far α is from 1 at most.
        lowest, highest: where the bands begin and end, in Hz; they are evenly wide in mel.

    Call arguments: `x` [batch, time, mels], log-mel; `training`.

    Source: Jaitly and Hinton 2013, Vocal Tract Length Perturbation improves speech recognition.

    >>> layer = VocalTract(extent=0.1, lowest=60.0, highest=4000.0)
    >>> x = ops.reshape(ops.arange(40.0), [1, 1, 40])
    >>> float(ops.max(ops.abs(layer.warp(x, ops.ones([1, 1])) - x))) < 1e-3  # by a factor of 1
    True
    """

    def __init__(self, extent: float, lowest: float, highest: float, **kwargs):
        super().__init__(**kwargs)
        self.config = {"extent": extent, "lowest": lowest, "highest": highest}

    def perturb(self, x):
        extent = self.config["extent"]
        factor = self.uniform(ops.shape(x)[0], 1, minval=1 - extent, maxval=1 + extent)
        return self.warp(x, factor)

    def warp(self, x: Tensor, factor: Tensor) -> Tensor:
        """The spectrograms stretched by factors [batch, 1]."""
        mels = x.shape[-1]
        low, high = _mel(self.config["lowest"]), _mel(self.config["highest"])
        width = (high - low) / (mels + 1)
        hertz = 700.0 * (np.exp((low + width * np.arange(1, mels + 1)) / 1127.0) - 1.0)
        warped = 1127.0 * ops.log(1.0 + factor * ops.cast(hertz, "float32") / 700.0)
        place = ops.clip((warped - low) / width - 1.0, 0.0, mels - 1.0)  # [batch, mels]
        bands = ops.cast(ops.arange(mels), "float32")[:, None]
        share = ops.maximum(1.0 - ops.abs(place[:, None, :] - bands), 0.0)
        return ops.matmul(x, ops.cast(share, x.dtype))

    def get_config(self):
        return {**super().get_config(), **self.config}


@register
class AddNoise(_Perturbation):
    """Adds noise to log power: out = log(exp(x) + exp(n)), as noise adds to the sound itself.

    n is the level of the row, drawn evenly in decibels, and in each cell as far from it as the power of noise is; the
    spectrum of the noise slopes by up to `slope` from its lowest band to its highest.

    Arguments:
        lowest, highest: the level in dB, 0 being the mean power of the sound.
        slope: in dB.

    Call arguments: `x` [batch, time, mels], log-mel of sounds of mean power 1; `training`.

    >>> x = ops.zeros([2, 50, 40])
    >>> noisy = AddNoise(lowest=-20.0, highest=-10.0)(x, training=True)
    >>> bool(ops.all(noisy > x))
    True
    """

    def __init__(
        self, lowest: float = -60.0, highest: float = -10.0, slope: float = 20.0, **kwargs
    ):
        super().__init__(**kwargs)
        self.config = {"lowest": lowest, "highest": highest, "slope": slope}

    def perturb(self, x):
        batch, time, mels = ops.shape(x)
        config = self.config
        decibel = np.log(10.0) / 10.0
        level = self.uniform(batch, 1, 1, minval=config["lowest"], maxval=config["highest"])
        slope = self.uniform(batch, 1, 1, minval=-config["slope"], maxval=config["slope"])
        place = ops.cast(ops.arange(mels), "float32") / mels - 0.5
        # The power of Gaussian noise in one window is that of two squares: exponential.
        power = -ops.log(self.uniform(batch, time, mels, minval=1e-6))
        noise = decibel * (level + slope * place) + ops.log(power)
        return ops.logaddexp(x, ops.cast(noise, x.dtype))

    def get_config(self):
        return {**super().get_config(), **self.config}


def _mel(hertz: float) -> float:
    """HTK's scale, as `tf.signal.linear_to_mel_weight_matrix` has it."""
    return float(1127.0 * np.log1p(hertz / 700.0))
