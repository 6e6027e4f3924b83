"""Config keys: a name, a default, what it means, and what it may be.

A config is an `ml_collections.ConfigDict` made from a list of keys. The keys that every task shares are
here; a task's own file adds its own and may give a shared one another default.
"""

import dataclasses
import difflib
import importlib
from collections.abc import Iterable, Mapping

import ml_collections

Value = bool | int | float | str

# A new task adds its name here; its keys are in keras_rnn/configs/NAME.py, its work in keras_rnn/tasks/NAME.py.
TASKS = (
    "classification",
    "tagging",
    "translation",
    "question_answering",
    "summarization",
    "speech_recognition",
)

# What may change when a run goes on; everything else would make it another run.
CONTINUABLE = (
    "epochs",
    "max_steps",
    "learning_rate",
    "checkpoint_seconds",
    "profile_steps",
    "distribute",
)

# Of these, what changes nothing of the weights that come out.
WITHOUT_EFFECT = ("checkpoint_seconds", "profile_steps", "distribute")

# The largest numbers that a key without a bound of its own takes: lengths and ids have 32 bits, and so have floats.
LARGEST = 2**31 - 1
LARGEST_FLOAT = 3.4e38


@dataclasses.dataclass(frozen=True)
class Key:
    """One setting: `--config.NAME=VALUE`.

    Arguments:
        name: the key, with a dot where it belongs to a group (`data.text`).
        default: its value when nothing is said; its type is the key's type.
        meaning: a line or two for the reader of `--help`.
        choices: the values it may have, if there are few.
        minimum, maximum: the bounds of a number.
        live: True if the key may be given to evaluate and predict too (it changes no weights).
        part: the weights that hang on it, "encoder" or "task"; a run that starts from another one (`init_from`) has the
            same value, for a "task" key only where the task is the same.
    """

    name: str
    default: Value
    meaning: str
    choices: tuple[Value, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    live: bool = False
    part: str = ""


class Keys(dict[str, Key]):
    """The keys of a task, by name, in the order in which `--help` shows them."""

    def __init__(self, keys: Iterable[Key], doc: str = ""):
        super().__init__((key.name, key) for key in keys)
        self.doc = doc

    def config(self) -> ml_collections.ConfigDict:
        """The defaults as a locked `ConfigDict`."""
        return _nested((key.name, key.default) for key in self.values())

    def read(self, values: Mapping[str, Value]) -> ml_collections.ConfigDict:
        """The config that a workdir keeps (flat), checked; keys it does not know have their default.

        Raises:
            ValueError: of one line, for a key that is not there or a value that it does not allow.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"config is {values!r}, it must hold a value for each key")
        flat = {key.name: key.default for key in self.values()}
        for name, value in values.items():
            if name not in flat:
                raise ValueError(f"there is no config key {name}{nearest(name, flat)}")
            if isinstance(flat[name], float) and isinstance(value, int):
                value = float(value)
            if type(value) is not type(flat[name]):
                kind = type(flat[name]).__name__
                raise ValueError(f"{name} is {value!r}, it must be of type {kind}")
            flat[name] = value
        config = _nested(flat.items())
        check(config, self, prefix="")
        return config


def _nested(items: Iterable[tuple[str, Value]]) -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    for name, value in items:
        *groups, last = name.split(".")
        inner = config
        for group in groups:
            if group not in inner:
                inner[group] = ml_collections.ConfigDict()
            inner = inner[group]
        inner[last] = value
    return config.lock()


def flatten(config: ml_collections.ConfigDict, prefix: str = "") -> dict[str, Value]:
    """A config as one flat dict, `{"units": 128, "data.text": "text"}`."""
    flat = {}
    for name, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            flat.update(flatten(value, prefix + name + "."))
        else:
            flat[prefix + name] = value
    return flat


def changed_keys(old: Mapping[str, Value], new: Mapping[str, Value]) -> list[str]:
    """The names whose values differ between two flat configs."""
    return [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]


def nearest(name: str, names: Iterable[str]) -> str:
    """`; did you mean X?` for a mistyped name, or nothing where none is near."""
    best, closeness = "", 0.5
    for other in names:
        # `text` is near to `data.text` as well.
        for part in (other, other.rsplit(".", 1)[-1]):
            ratio = difflib.SequenceMatcher(None, name, part).ratio()
            if ratio > closeness:
                best, closeness = other, ratio
    return f"; did you mean {best}?" if best else ""


def check(config: ml_collections.ConfigDict, keys: Keys, prefix: str = "--config.") -> None:
    """Raises a ValueError of one line for the first value that its key does not allow; `prefix` says where it stood."""
    for name, value in flatten(config).items():
        key = keys[name]
        if key.choices and value not in key.choices:
            allowed = ", ".join(str(choice) for choice in key.choices)
            near = nearest(str(value), map(str, key.choices))
            raise ValueError(f"{prefix}{name}={value}: it must be one of {allowed}{near}")
        # Computed with in float32, in which a larger one is none.
        if isinstance(value, float) and not abs(value) <= LARGEST_FLOAT:
            raise ValueError(f"{prefix}{name}={value}: it must be a finite number")
        if key.minimum is not None and value < key.minimum:
            raise ValueError(f"{prefix}{name}={value}: it must be at least {key.minimum:g}")
        maximum = key.maximum
        if maximum is None and type(key.default) is int:
            maximum = LARGEST
        if maximum is not None and value > maximum:
            shown = f"{maximum:g}" if maximum < 1e6 else f"{maximum:.0f}"
            raise ValueError(f"{prefix}{name}={value}: it must be at most {shown}")


def task_keys(task: str) -> Keys:
    """The keys of a task: the shared ones with the task's defaults, then its own."""
    if task not in TASKS:
        raise ValueError(
            f"--task={task}: it must be one of {', '.join(TASKS)}{nearest(str(task), TASKS)}"
        )
    module = importlib.import_module(f"keras_rnn.configs.{task}")
    return Keys(module.keys(), doc=module.__doc__)


# Keys that several tasks have, but not all.
VECTORS_SIZE = Key(
    "vectors_size", 100000, "most words of vectors to keep beside the data's own", minimum=0
)
BEAM = Key("search.beam", 5, "beginnings that the search keeps; 1 is greedy", minimum=1, live=True)
DELIMITER = Key("data.delimiter", "", "what separates columns; by the file's name if not given")


def shared_keys(**defaults: Value) -> list[Key]:
    """The keys of every task; `defaults` gives a task's own defaults for some of them."""
    keys = [
        Key(
            "cell",
            "lstm",
            "recurrent cell: lstm (standard), lecture_lstm (a = gate * c, no tanh), gru, gru_reset_after, "
            "simple_rnn, peephole_lstm, layer_norm_lstm, layer_norm_gru, layer_norm_simple_rnn, nas, esn, "
            "or the class name of your own cell (see --import)",
            part="encoder",
        ),
        Key(
            "units",
            128,
            "size of the cell's state, for each direction",
            minimum=1,
            part="encoder",
        ),
        Key("layers", 1, "recurrent layers on top of each other", minimum=1, part="encoder"),
        Key("bidirectional", True, "read forwards and backwards", part="encoder"),
        Key(
            "embedding_dim",
            128,
            "size of a token's learnt vector; 0 = the task's choice, less beside pretrained ones",
            minimum=0,
            part="encoder",
        ),
        Key(
            "vectors",
            "",
            "file of pretrained vectors, GloVe or word2vec text, may be .gz; they stand beside the learnt ones",
            part="task",
        ),
        Key(
            "init_from",
            "",
            "workdir of a trained run whose weights and vocabulary this one begins with; new labels get new weights, "
            "and of a run of another task the encoder alone is taken",
        ),
        Key(
            "tokenizer",
            "words",
            "what a token is",
            choices=("words", "characters", "wordpiece", "sentencepiece"),
            part="encoder",
        ),
        Key("vocabulary_size", 30000, "most tokens to keep, the frequent ones", minimum=5),
        Key("min_count", 1, "drop words and characters seen fewer times in training", minimum=1),
        Key("lower", False, "lower-case the text", part="encoder"),
        Key("max_length", 512, "longest text in tokens; longer ones are cut", minimum=1),
        Key("max_bytes", 100000, "longest text in bytes; longer ones are cut", minimum=1),
        Key("dropout", 0.3, "share of features dropped between layers", minimum=0, maximum=0.95),
        Key(
            "recurrent_dropout",
            0.0,
            "share of the state dropped in the recurrent products, one mask a sequence",
            minimum=0,
            maximum=0.95,
        ),
        Key("batch_size", 32, "examples in a training step", minimum=1),
        Key("epochs", 20, "most passes over the training data", minimum=0),
        Key("max_steps", 0, "stop after so many steps; 0 = no such limit", minimum=0),
        Key(
            "patience",
            5,
            "stop after so many epochs (or evaluations, see evaluate_every) without a better dev score; 0 = never",
            minimum=0,
        ),
        Key(
            "evaluate_every",
            0,
            "steps after which dev is scored and a checkpoint written; 0 = at the end of each epoch",
            minimum=0,
        ),
        Key(
            "checkpoint_seconds",
            300.0,
            "seconds after which a checkpoint is written between evaluations too; 0 = never",
            minimum=0,
        ),
        Key("accumulate", 1, "batches whose gradients make one step together", minimum=1),
        Key("optimizer", "adam", "update rule", choices=("adam", "adamw", "sgd")),
        Key("learning_rate", 1e-3, "size of the updates (the highest of a schedule)", minimum=0),
        Key(
            "schedule",
            "constant",
            "course of the learning rate; linear and cosine fall to 0 at the last step",
            choices=("constant", "linear", "cosine", "inverse_sqrt"),
        ),
        Key("warmup_steps", 0, "steps over which the learning rate rises from 0", minimum=0),
        Key("weight_decay", 0.0, "decoupled weight decay, under any optimizer", minimum=0),
        Key("clip_norm", 1.0, "clip the gradients' global norm; 0 = never", minimum=0),
        Key(
            "average",
            0.0,
            "decay of a running average of the weights, judged and kept instead of them; 0 = none",
            minimum=0,
            maximum=0.99999,
        ),
        Key("seed", 1, "start of every random draw", minimum=0, maximum=2**32 - 1),
        Key(
            "jit_compile",
            True,
            "compile with XLA where the device has a compiler",
            live=True,
        ),
        Key(
            "precision",
            "float32",
            "numbers to compute with; weights are float32 always",
            choices=("float32", "mixed_bfloat16", "mixed_float16"),
        ),
        Key(
            "max_compilations",
            0,
            "fail when more programs than this were compiled; 0 = no limit",
            minimum=0,
            live=True,
        ),
        Key(
            "max_shapes",
            0,
            "most padded lengths, each compiled once; 0 = up to 6, as many as repay their compiling",
            minimum=0,
        ),
        Key(
            "profile_steps",
            0,
            "steps to profile, once no more is compiled, for TensorBoard's page Profile (which the extra `profile` "
            "brings); 0 = none",
            minimum=0,
            maximum=1000,
        ),
        Key(
            "distribute",
            "none",
            "who trains together: none (one device), mirrored (all GPUs of this machine), multi_worker (the processes "
            "that the environment variable TF_CONFIG names); batch_size is that of all together",
            choices=("none", "mirrored", "multi_worker"),
        ),
        Key("pictures", 8, "dev examples that TensorBoard shows; 0 = none", minimum=0),
    ]
    known = {key.name for key in keys}
    for name in defaults:
        if name not in known:
            raise KeyError(name)
    return [
        dataclasses.replace(key, default=defaults[key.name]) if key.name in defaults else key
        for key in keys
    ]
