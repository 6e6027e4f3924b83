"""Where PyTorch's contestants run: on a GPU if there is one, set up as one does there."""

import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

# As TensorFlow multiplies there, and PyTorch's own recurrent layers.
if DEVICE == "cuda":
    torch.set_float32_matmul_precision("high")


def finish() -> None:
    """Waits for what runs on a GPU."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
