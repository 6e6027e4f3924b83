"""What a task learns of its data beside vocabularies, as a JSON file of the workdir."""

import json
import os
import typing
from collections.abc import Mapping
from typing import Any

import pipelines


def write_facts(directory: str, name: str, facts: dict[str, Any]) -> None:
    """Writes `name` into a workdir."""
    with pipelines.atomic_write(os.path.join(directory, name)) as file:
        json.dump(facts, file, ensure_ascii=False, indent=1)
        file.write("\n")


def read_facts(
    directory: str, name: str, kinds: Mapping[str, type | tuple[type, ...]]
) -> dict[str, Any]:
    """Reads what `write_facts` wrote.

    Arguments:
        kinds: the type, or the types, that each of these facts must have; `list[str]` is a list of strings.

    Raises:
        InputError: there is no such file, it is no JSON, or a fact is missing or of another type.
    """
    path = os.path.join(directory, name)
    try:
        with open(path, encoding="utf-8") as file:
            facts = json.load(file)
    except FileNotFoundError:
        raise pipelines.InputError("no such file; the workdir is not whole", path) from None
    except ValueError as error:
        raise pipelines.InputError(f"is not JSON: {error}", path) from None
    for fact, kind in kinds.items():
        kind = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(facts, dict) or not any(_is(facts.get(fact), k) for k in kind):
            names = " or ".join(k.__name__ if isinstance(k, type) else str(k) for k in kind)
            message = f"{fact!r} is missing or no {names}; the workdir is damaged"
            raise pipelines.InputError(message, path)
    return facts


def _is(value: Any, kind: type) -> bool:
    if items := typing.get_args(kind):  # list[str]
        return isinstance(value, list) and all(isinstance(item, items) for item in value)
    return isinstance(value, kind)
