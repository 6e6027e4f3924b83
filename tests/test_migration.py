"""docs/migration.md: its Python blocks run, it names everything old, and everything new that it names is there."""

import re
from pathlib import Path

import pytest

import keras_rnn

PAGE = Path(__file__).resolve().parent.parent / "docs" / "migration.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)

# The public names of TensorFlow Addons 0.23.0, as the __init__.py of each module imports them.
OLD = {
    "tfa.rnn": (
        "ESNCell",
        "LayerNormLSTMCell",
        "LayerNormSimpleRNNCell",
        "NASCell",
        "PeepholeLSTMCell",
    ),
    # Of this module only what is recurrent.
    "tfa.layers": ("CRF", "ESN"),
    # Without parse_time and the two skip_gram_sample.
    "tfa.text": (
        "CRFModelWrapper",
        "CrfDecodeForwardRnnCell",
        "crf",
        "crf_binary_score",
        "crf_constrained_decode",
        "crf_decode",
        "crf_decode_backward",
        "crf_decode_forward",
        "crf_filtered_inputs",
        "crf_forward",
        "crf_log_likelihood",
        "crf_log_norm",
        "crf_multitag_sequence_score",
        "crf_sequence_score",
        "crf_unary_score",
        "viterbi_decode",
    ),
    "tfa.seq2seq": (
        "AttentionMechanism",
        "AttentionWrapper",
        "AttentionWrapperState",
        "BahdanauAttention",
        "BahdanauMonotonicAttention",
        "BaseDecoder",
        "BasicDecoder",
        "BasicDecoderOutput",
        "BeamSearchDecoder",
        "BeamSearchDecoderOutput",
        "BeamSearchDecoderState",
        "CustomSampler",
        "Decoder",
        "FinalBeamSearchDecoderOutput",
        "GreedyEmbeddingSampler",
        "InferenceSampler",
        "LuongAttention",
        "LuongMonotonicAttention",
        "SampleEmbeddingSampler",
        "Sampler",
        "ScheduledEmbeddingTrainingSampler",
        "ScheduledOutputTrainingSampler",
        "SequenceLoss",
        "TrainingSampler",
        "dynamic_decode",
        "gather_tree",
        "gather_tree_from_array",
        "hardmax",
        "monotonic_attention",
        "safe_cumprod",
        "sequence_loss",
        "tile_batch",
    ),
}


def rows() -> list[tuple[str, str, str, str]]:
    """The rows of the tables of names: the module, the old name, the new one, what differs."""
    found, module, in_table = [], None, False
    for line in re.sub(r"^```.*?^```", "", TEXT, flags=re.MULTILINE | re.DOTALL).splitlines():
        if line.startswith("#"):
            module = next(iter(re.findall(r"`(tfa\.\w+)`", line)), None)
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            in_table = False
        elif cells == ["Addons", "here", "what differs"]:
            in_table = True
        elif in_table and not line.startswith("|---"):
            assert len(cells) == 3, line
            found.append((module, *cells))
    return found


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_python_block(number, tmp_path, monkeypatch, forgets_registered_classes):
    monkeypatch.chdir(tmp_path)
    code = compile(BLOCKS[number], f"migration.md block {number}", "exec")
    exec(code, {"__name__": "migration"})  # noqa: S102


@pytest.mark.parametrize("module", OLD)
def test_every_old_name_has_a_row(module):
    listed = [old for where, old, _, _ in rows() if where == module]
    assert sorted(listed) == sorted(f"`{name}`" for name in OLD[module])


def test_every_row_says_what_to_use_and_what_differs():
    for _, old, new, differs in rows():
        assert new and differs, old


@pytest.mark.parametrize("package", ["keras_rnn", "keras"])
def test_every_new_name_exists(package):
    """Those in the tables and those in the text and the code, keras_rnn.X and keras.X.Y."""
    import keras

    names = set(re.findall(rf"(?<![\w.]){package}((?:\.\w+)+)", TEXT))
    assert len(names) > 5
    for name in sorted(names):
        value = {"keras_rnn": keras_rnn, "keras": keras}[package]
        for part in name.strip(".").split("."):
            assert hasattr(value, part), package + name
            value = getattr(value, part)
        if package == "keras_rnn":
            assert name.strip(".") in keras_rnn.__all__


def test_every_new_name_in_the_tables_is_code():
    """No name of ours stands in the second column without its package, where the test above would not see it."""
    for _, old, new, _ in rows():
        for name in re.findall(r"`([^`]*)`", new):
            known = name.split(".")[0] in ("keras_rnn", "keras")
            assert known or name in ("start", "advance", "scheduled_sampling"), (old, name)


def test_lines_are_not_too_long():
    for line in TEXT.splitlines():
        assert len(line) <= 120, line
