"""The tiny model with the marks of a model that thinks aloud, as tokens of its own."""

from pathlib import Path
from typing import Any

import msgspec

from headrace.models import write_tiny_model

BEGIN = "<think>"
END = "</think>"

# Words that no other is the beginning of: their tokens become the marks.
_GIVEN_UP = {"\u0120never": BEGIN, "\u0120always": END}


def write_thinking_model(folder: Path, *, opens: bool = True, template: str | None = None) -> Path:
    """Write the model.

    Args:
        folder: where.
        opens: the chat template begins the thoughts, as that of DeepSeek R1 does.
        template: a chat template in place of the tiny model's.
    """
    write_tiny_model(folder)
    file = folder / "tokenizer.json"
    tokenizer: dict[str, Any] = msgspec.json.decode(file.read_bytes())
    model = tokenizer["model"]
    model["vocab"] = {_GIVEN_UP.get(piece, piece): number for piece, number in model["vocab"].items()}
    model["merges"] = [merge for merge in model["merges"] if "".join(merge) not in _GIVEN_UP]
    for mark in (BEGIN, END):
        tokenizer["added_tokens"].append(
            {
                "id": model["vocab"][mark],
                "content": mark,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": False,
            }
        )
    file.write_bytes(msgspec.json.encode(tokenizer))
    config_file = folder / "tokenizer_config.json"
    config: dict[str, Any] = msgspec.json.decode(config_file.read_bytes())
    if opens:
        config["chat_template"] = config["chat_template"].replace(
            "assistant\n{% endif", f"assistant\n{BEGIN}\n{{% endif"
        )
    config_file.write_bytes(msgspec.json.encode(config | ({"chat_template": template} if template else {})))
    return folder


def token_of(folder: Path, piece: str) -> int:
    """Return the number of a token."""
    tokenizer: dict[str, Any] = msgspec.json.decode((folder / "tokenizer.json").read_bytes())
    return int(tokenizer["model"]["vocab"][piece])
