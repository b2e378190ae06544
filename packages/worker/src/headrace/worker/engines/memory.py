"""Whether this machine has the memory for all models of a worker, worked out before the first of them is loaded."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from headrace.schema.settings import ModelSettings
from headrace.worker.engines.base import EngineSetupError

_GIB = 2**30
_WEIGHT_FILES = ("*.safetensors", "*.bin", "*.pt")


class MachineMemory(Struct, frozen=True, kw_only=True):
    """What there is for models.

    Attributes:
        kind: what it is called in a message.
        total_bytes: how much there is, used or not.
        default_kv_bytes: what the engine takes for a KV cache that no setting bounds; 0 where it takes what is left.
    """

    kind: str
    total_bytes: int
    default_kv_bytes: int = 0


class ModelNeed(Struct, frozen=True, kw_only=True):
    """What a model needs.

    Attributes:
        model: its served name.
        weights_bytes: its weights on disk; in memory they are about as large.
        kv_bytes: its KV cache.
    """

    model: str
    weights_bytes: int
    kv_bytes: int

    @property
    def total_bytes(self) -> int:
        """Both together."""
        return self.weights_bytes + self.kv_bytes


def list_needs(
    models: Mapping[str, ModelSettings], weights: Mapping[str, Path], memory: MachineMemory
) -> list[ModelNeed]:
    """Return what each model with weights needs."""
    return [
        ModelNeed(
            model=name,
            weights_bytes=measure_weights(folder),
            kv_bytes=models[name].kv_cache_bytes or memory.default_kv_bytes,
        )
        for name, folder in weights.items()
    ]


def measure_weights(folder: Path) -> int:
    """Return how large the weights in a folder are, in bytes."""
    return sum(path.stat().st_size for pattern in _WEIGHT_FILES for path in folder.glob(pattern))


def check_memory(needs: Sequence[ModelNeed], memory: MachineMemory) -> None:
    """Refuse models that together need more memory than there is.

    Raises:
        EngineSetupError: with what each needs, and the settings that change it.
    """
    needed = sum(need.total_bytes for need in needs)
    if needed <= memory.total_bytes:
        return
    each = "; ".join(
        f"{need.model} {_show(need.weights_bytes)} of weights and {_show(need.kv_bytes)} of KV cache "
        f"(models.{need.model}.kv_cache_bytes)"
        for need in needs
    )
    raise EngineSetupError(
        f"the models of this worker need {_show(needed)} together, and this machine has {_show(memory.total_bytes)} of "
        f"{memory.kind}: {each}. Name fewer models in worker.models, or make their KV caches smaller"
    )


def _show(size: int) -> str:
    return f"{size / _GIB:.2f} GiB"
