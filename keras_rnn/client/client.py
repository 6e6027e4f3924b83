"""Labels or tags for raw text, one JSON object for each line: `python client.py < texts.txt`.

Needs NumPy, and onnxruntime for a model.onnx or ai-edge-litert for a model.tflite.
"""

import json
import sys
from pathlib import Path

from encoding import Encoding


def open_model(folder):
    """The model as a function: arrays by name to arrays by name."""
    if (folder / "model.onnx").exists():
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / "model.onnx")
        names = [output.name for output in session.get_outputs()]
        return lambda **features: dict(zip(names, session.run(names, features)))
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(str(folder / "model.tflite")).get_signature_runner()


class Client:
    """Answers raw texts, one at a time."""

    def __init__(self, folder):
        self.encoding, self.run = Encoding(folder), open_model(Path(folder))
        self.answer = getattr(self, self.encoding.rules["task"])

    def classification(self, text):
        """The label, or the labels likelier than not, and the probability of each."""
        rules = self.encoding.rules
        result = self.run(**self.encoding.features(self.encoding.tokens(text) or [""]))
        probabilities = dict(zip(rules["labels"], result["probabilities"][0].tolist()))
        if rules["several"]:
            label = [name for name, p in probabilities.items() if p >= rules["threshold"]]
        else:
            label = max(probabilities, key=probabilities.get)
        return {"label": label, "probabilities": probabilities}

    def tagging(self, text):
        """The tokens, their tags, and the probability of each."""
        rules, tokens = self.encoding.rules, self.encoding.tokens(text)
        if not tokens:
            return {"tokens": [], "tags": [], "probabilities": []}
        result = self.run(**self.encoding.features(tokens))
        tags = [rules["tags"][number] for number in result["tags"][0]]
        if rules["scheme"] == "IOB1":  # B stands only right after a span of the same label.
            tags = [
                "I" + tag[1:] if tag[0] == "B" and (before == "O" or tag[1:] != before[1:]) else tag
                for before, tag in zip(["O", *tags], tags)
            ]
        probabilities = result["probabilities"][0].tolist()
        return {"tokens": tokens, "tags": tags, "probabilities": probabilities}


if __name__ == "__main__":
    client = Client(Path(__file__).resolve().parent)
    for line in sys.stdin:
        print(json.dumps(client.answer(line.rstrip("\n")), ensure_ascii=False))
