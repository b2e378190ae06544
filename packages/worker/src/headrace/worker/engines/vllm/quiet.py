"""Which of vLLM's log lines an operator sees: warnings and errors, but not about what we chose on purpose.

vLLM's loggers hand their records to the process's own logging. On a CPU every start would bring some ten warnings about
settings that are the right ones here; a log that always warns is not read when it matters.
"""

import logging
import warnings

_EXPECTED_ON_CPU = {
    "vllm.engine.arg_utils": ("The global random seed is set to",),
    "vllm.config.vllm": (
        "Enforce eager set",
        "Inductor compilation was disabled",
        "Model Runner V2 requires Triton",
    ),
    "vllm.platforms.cpu": ("Triton is not installed",),
    "vllm.v1.worker.cpu_worker": ("%s is not found in LD_PRELOAD",),
    "vllm.utils.torch_utils": ("OMP_NUM_THREADS=%s is set",),
}
# It lists the defaults of generation_config.json as a warning: we apply them on purpose.
_EXPECTED = {
    "vllm.config.model": ("Default vLLM sampling parameters have been overridden",),
    "vllm.config.scheduler": ("Using custom scheduler class",),
    # An adapter with a tokenizer of its own: PEFT always saves one, and it is the model's.
    "vllm.v1.engine.input_processor": ("vLLM has deprecated support for supporting different tokenizers",),
}
_WARN_ONLY = ("vllm", "transformers", "torch")
_ERROR_ONLY = ("torch._library.triton",)
# They log what a template or a parser could not make sense of, which may hold what a user or a model said.
_SILENT = ("vllm.renderers.hf", "vllm.tool_parsers", "vllm.reasoning", "vllm.parser")
_DEPRECATED_IN_VLLM = "`torch.distributed.reduce_op` is deprecated"


class _ExpectedFilter(logging.Filter):
    def __init__(self, prefixes: tuple[str, ...]) -> None:
        super().__init__()
        self._prefixes = prefixes

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(self._prefixes)


def quiet_levels() -> None:
    """Leave only warnings and errors; before vLLM is imported. The engine's process inherits it."""
    for name in _WARN_ONLY:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _ERROR_ONLY:
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", message=_DEPRECATED_IN_VLLM, category=FutureWarning)


def drop_expected_warnings(*, is_cpu: bool) -> None:
    """Drop the warnings about what we chose on purpose."""
    for name, prefixes in (_EXPECTED | (_EXPECTED_ON_CPU if is_cpu else {})).items():
        logging.getLogger(name).addFilter(_ExpectedFilter(prefixes))
