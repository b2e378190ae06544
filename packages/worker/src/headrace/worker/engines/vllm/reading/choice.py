# ruff: noqa: RUF001 - the marks of some models look like ASCII, and are not
"""Choosing vLLM's parser of tool calls by what a model's chat template tells it to write."""

AUTO = "auto"
FALLBACK = "hermes"

# The first whose marks are all in the template, the more special ones first.
_MARKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("deepseek_v32", ("DSML", "function_calls")),
    ("deepseek_v31", ("<｜tool▁calls▁begin｜>", "<｜tool▁sep｜>{{")),
    ("deepseek_v3", ("<｜tool▁calls▁begin｜>",)),
    ("step3", ("<｜tool_calls_begin｜>",)),
    ("kimi_k2", ("<|tool_calls_section_begin|>",)),
    ("minimax_m2", ("<minimax:tool_call>",)),
    ("seed_oss", ("<seed:tool_call>",)),
    ("glm45", ("<arg_key>",)),
    ("qwen3_coder", ("<tool_call>", "<function=")),
    ("functiongemma", ("<start_function_call>",)),
    ("lfm2", ("<|tool_call_start|>",)),
    ("internlm", ("<|action_start|>", "<|plugin|>")),
    ("hunyuan_a13b", ("<tool_calls>", "hunyuan")),
    ("openai", ("<|channel|>", "commentary")),
    ("mistral", ("[TOOL_CALLS]",)),
    ("granite", ("<|tool_call|>", "<|start_of_role|>")),
    ("phi4_mini_json", ("<|tool|>", "<|/tool|>")),
    ("llama4_pythonic", ("<|python_start|>",)),
    ("llama3_json", ("<|python_tag|>",)),
    ("llama3_json", ("Environment: ipython",)),
    ("hermes", ("<tool_call>",)),
)


def choose_tool_parser(setting: str, template: str | None) -> str:
    """Return the name of the parser for a model.

    Args:
        setting: what the settings say; `auto` leaves it to the template.
        template: the model's chat template.
    """
    if setting != AUTO:
        return setting
    for name, marks in _MARKS:
        if template is not None and all(mark in template for mark in marks):
            return name
    return FALLBACK
