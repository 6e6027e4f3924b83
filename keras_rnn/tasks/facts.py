"""What a task learns of its data beside vocabularies, as a JSON file of the workdir."""

import json
import os
from typing import Any

import pipelines


def write_facts(directory: str, name: str, facts: dict[str, Any]) -> None:
    """Writes `name` into a workdir."""
    with pipelines.atomic_write(os.path.join(directory, name)) as file:
        json.dump(facts, file, ensure_ascii=False, indent=1)
        file.write("\n")


def read_facts(directory: str, name: str) -> dict[str, Any]:
    """Reads what `write_facts` wrote.

    Raises:
        InputError: there is no such file, or it is no JSON.
    """
    path = os.path.join(directory, name)
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        raise pipelines.InputError("no such file; the workdir is not whole", path) from None
    except ValueError as error:
        raise pipelines.InputError(f"is not JSON: {error}", path) from None
