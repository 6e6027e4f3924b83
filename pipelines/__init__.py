"""Bytes to padded tensors: read files, encode text, store examples, make batches.

Every public name is here, flat. A name is imported when it is first used, so that reading a file
or catching an `InputError` does not wait for TensorFlow.
"""

from __future__ import annotations

import importlib

_HOMES = {
    "errors": ["InputError"],
    "ahead": ["map_ahead"],
    "devices": ["on_cpu"],
    "files": [
        "atomic_directory",
        "atomic_write",
        "beginning",
        "expand",
        "numbered_lines",
        "open_bytes",
        "remove_parts",
        "shown",
        "suffix",
    ],
    "readers": [
        "MAX_BYTES",
        "Record",
        "checked_delimiter",
        "cut_records",
        "cut_text",
        "json_object",
        "read_lines",
        "read_table",
    ],
    "attributes": ["ATTRIBUTES", "word_attributes"],
    "text": [
        "END",
        "PADDING",
        "SPECIAL_TOKENS",
        "START",
        "UNKNOWN",
        "CharacterTokenizer",
        "SentencePieceTokenizer",
        "Tokenizer",
        "WordTokenizer",
        "WordpieceTokenizer",
        "count_words",
        "first_bytes",
        "in_chunks",
        "load_tokenizer",
        "lowered",
        "tokenizer_of_counts",
        "train_tokenizer",
    ],
    "ragged": ["first_of_rows", "framed"],
    "portable": ["word_rules"],
    "conll": [
        "column_count",
        "is_conllu",
        "read_conll",
        "read_conllu",
        "read_tagged",
        "rewrite",
    ],
    "parallel": ["has_no_header", "is_table", "read_parallel", "two_sides"],
    "schemes": ["SCHEMES", "detect_scheme"],
    "vectors": ["read_vectors", "vector_words", "vectors_dimension"],
    "dates": ["date_translation"],
    "audio": [
        "FRAME_SECONDS",
        "LOWEST_HERTZ",
        "frames_of",
        "log_mel",
        "read_waveform",
        "resample",
        "write_waveform",
    ],
    "wav": ["RATES", "decode_wav"],
    "manifests": ["read_manifest"],
    "tones": ["dial", "write_tones"],
    "store": ["Column", "ExampleStore", "write_store"],
    "batching": ["Batches", "choose_buckets"],
    "distinct": ["DistinctBatches"],
    "questions": ["is_squad", "read_questions"],
    "stories": ["house_stories"],
    "notices": ["town_notices"],
    "samples": [
        "date_tags",
        "language_identification",
        "teddy",
        "transitions",
        "write_table",
        "write_tables",
    ],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str):
    if name not in _HOME_OF:
        raise AttributeError(f"module 'pipelines' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"pipelines.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
