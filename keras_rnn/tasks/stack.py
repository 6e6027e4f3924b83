"""The recurrent layers that a task's keys ask for."""

from typing import Any

import ml_collections


def stack_of(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """What a `TextEncoder` takes as its `stack`."""
    return {
        "units": config.units,
        "cell": config.cell,
        "layers": config.layers,
        "bidirectional": config.bidirectional,
        "dropout": config.dropout,
        "recurrent_dropout": config.recurrent_dropout,
    }
