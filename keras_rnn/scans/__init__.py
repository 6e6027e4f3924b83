"""The fused time loop and its gradient: the one room of the house with a `tf.custom_gradient`.

A cell gives its equations for one time step, `step`. `scan` runs them over time in one loop and differentiates that
loop for them:

- forward keeps the states and the result of every product with a weight (every `dot`), nothing else;
- backward walks the steps from the last to the first and asks TensorFlow for the vector-Jacobian product of `step`
  alone. There each `dot` hands out its kept result instead of multiplying again, and puts its cotangent aside;
- the gradient of a recurrent weight is then one product over all time steps, operandsᵀ · cotangents, after the loop.

Weights that `step` reads outside of `dot` (peepholes, gains, a plain `ops.matmul`) and the memory get their gradients
from the vector-Jacobian product, summed in the loop in float32.

| file | holds |
| --- | --- |
| `scan.py` | `scan`, where the gradient is hung on the loop |
| `loop.py` | the loop's steps, forwards and backwards |
| `over_time.py` | the loop itself, and the stacks of what its steps leave |
| `products.py` | `dot`, in the loop and outside |
| `halves.py`, `chunks.py` | scans whose step is two steps, or a scan: they need no gradient of their own |
| `either.py` | a choice between two scans |
| `stacks.py` | tensors over time |
| `devices.py` | whether it all runs on CPUs |

Everything here is time-major, [time, batch, ...]; the rest of the house is batch-major.
"""

from keras_rnn.scans.chunks import scan_in_chunks
from keras_rnn.scans.devices import only_cpus
from keras_rnn.scans.either import either
from keras_rnn.scans.halves import halving_pays, scan_in_halves
from keras_rnn.scans.loop import Step
from keras_rnn.scans.products import blocks_cut_once, dropping, in_rows, product, undropped
from keras_rnn.scans.scan import Scanned, forward_only, scan
from keras_rnn.scans.stacks import at_least_one, swapped

__all__ = [
    "Scanned",
    "Step",
    "at_least_one",
    "blocks_cut_once",
    "dropping",
    "either",
    "forward_only",
    "halving_pays",
    "in_rows",
    "only_cpus",
    "product",
    "scan",
    "scan_in_chunks",
    "scan_in_halves",
    "swapped",
    "undropped",
]
