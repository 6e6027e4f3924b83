"""Manifests: where a sound lies."""

import pytest

import pipelines


def test_sounds_lie_beside_their_manifest(tmp_path):
    manifest = tmp_path / "a.csv"
    manifest.write_text("audio,text\nx/1.wav,one\n/far/2.wav,two\n")
    one, two = pipelines.read_manifest(manifest)
    assert one["audio"] == str(tmp_path / "x" / "1.wav") and one.row["audio"] == "x/1.wav"
    assert two["audio"] == "/far/2.wav" and (two["text"], two.line) == ("two", 3)


def test_lines_name_sounds_beside_them_or_where_the_command_runs(tmp_path, monkeypatch):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "l.txt").write_text("near.wav\nhere.wav\n")
    (tmp_path / "lists" / "near.wav").touch()
    (tmp_path / "here.wav").touch()
    monkeypatch.chdir(tmp_path)
    records = pipelines.read_manifest("lists/l.txt", form="lines")
    assert [record["audio"] for record in records] == ["lists/near.wav", "here.wav"]


def test_bad_rows(tmp_path):
    manifest = tmp_path / "a.jsonl"
    manifest.write_text('{"audio": "1.wav"}\n{"text": "two"}\n')
    with pytest.raises(pipelines.InputError, match=r"a.jsonl:1: .*text"):
        list(pipelines.read_manifest(manifest))
    good, bad = pipelines.read_manifest(manifest, texts=False, on_error="yield")
    assert "text" not in good and bad.line == 2 and "audio" in bad.message


def test_lists_and_nameless_sounds_are_bad_rows(tmp_path):
    manifest = tmp_path / "a.jsonl"
    manifest.write_text(
        '{"audio": ["1.wav"], "text": "one"}\n{"audio": " ", "text": "two"}\n{"audio": "3.wav", "text": []}\n'
    )
    errors = list(pipelines.read_manifest(manifest, on_error="yield"))
    assert [(error.line, error.message) for error in errors] == [
        (1, "'audio' is a list; a string is needed"),
        (2, "no sound is named"),
        (3, "'text' is a list; a string is needed"),
    ]
    with pytest.raises(pipelines.InputError, match="a.jsonl:1: 'audio' is a list"):
        list(pipelines.read_manifest(manifest))
