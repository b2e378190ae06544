"""LoRA adapters: small changes to a model, each served under a name of its own beside it.

What an operator may get wrong is found before vLLM starts: a folder that is not there, that holds no adapter, or one of
a kind that vLLM has no use for, or one that was made for another model. vLLM itself would fill up what is too small.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from headrace.worker.engines.base import EngineSetupError

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"

# Ranks that vLLM has kernels for.
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
# Adapters that one step of the engine may mix. Each takes memory beside the model.
_MAX_AT_ONCE = 8
# As the format itself has it.
_MAX_HEADER_BYTES = 100_000_000


class Adapter(Struct, frozen=True):
    """An adapter as vLLM takes it.

    Attributes:
        name: its served name.
        folder: where it lies.
        rank: how many dimensions its changes have.
        number: what vLLM calls it, from 1.
    """

    name: str
    folder: Path
    rank: int
    number: int


class _Config(Struct):
    """As much of PEFT's `adapter_config.json` as we read."""

    r: int
    peft_type: str = "LORA"
    use_dora: bool = False
    rank_pattern: dict[str, int] | None = field(default_factory=dict[str, int])


class _Tensor(Struct):
    shape: tuple[int, ...] = ()


def read_adapters(folders: Mapping[str, str], *, model: str, weights: Path) -> list[Adapter]:
    """Return the adapters of a model.

    Args:
        folders: served names, with the folder of each.
        model: the served name of the model, for messages.
        weights: the folder of the model.

    Raises:
        EngineSetupError: a folder does not hold an adapter that vLLM can serve.
    """
    adapters: list[Adapter] = []
    shapes = dict(_list_shapes(weights)) if folders else {}
    for number, (name, text) in enumerate(folders.items(), start=1):
        folder = Path(text).expanduser().absolute()
        setting = f"models.{model}.adapters.{name}"
        adapters.append(Adapter(name, folder, _read_rank(folder, setting), number))
        _check_shapes(folder, shapes, setting)
    return adapters


def _read_rank(folder: Path, setting: str) -> int:
    if not folder.is_dir():
        raise EngineSetupError(f"{setting} is {str(folder)!r}, which is not a folder; name the folder of the adapter")
    for file in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / file).is_file():
            raise EngineSetupError(
                f"{setting}: there is no {file} in {str(folder)!r}; save the adapter with PEFT's "
                "save_pretrained(folder, safe_serialization=True)"
            )
    try:
        config = msgspec.json.decode((folder / CONFIG_FILE).read_bytes(), type=_Config)
    except msgspec.DecodeError as error:
        raise EngineSetupError(f"{setting}: {CONFIG_FILE} is not a PEFT configuration: {error}") from error
    if config.peft_type.upper() != "LORA" or config.use_dora:
        kind = "DORA" if config.use_dora else config.peft_type
        raise EngineSetupError(f"{setting} is an adapter of the kind {kind}; vLLM serves LORA: merge it into the model")
    rank = max(config.r, *(config.rank_pattern or {}).values(), 1)
    if rank > _RANKS[-1]:
        raise EngineSetupError(f"{setting} has rank {rank}; vLLM serves up to {_RANKS[-1]}: merge it into the model")
    return rank


def _list_shapes(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as data:
            length = int.from_bytes(data.read(8), "little")
            if length > _MAX_HEADER_BYTES:
                raise OSError("it is not a safetensors file")
            header = data.read(length)
        for name, tensor in msgspec.json.decode(header, type=dict[str, _Tensor]).items():
            yield name, tensor.shape


def _check_shapes(folder: Path, model_shapes: Mapping[str, tuple[int, ...]], setting: str) -> None:
    """Compare an adapter with the weights that it changes, as far as those go by the same names."""
    try:
        shapes = list(_list_shapes(folder))
    except (msgspec.DecodeError, OSError) as error:
        raise EngineSetupError(f"{setting}: {WEIGHTS_FILE} can't be read: {error}") from error
    for name, shape in shapes:
        # An A goes from what the layer takes in to the rank, a B from the rank to what it gives out.
        for side, axis in ((".lora_A.", 1), (".lora_B.", 0)):
            target, found, _ = name.removeprefix("base_model.model.").partition(side)
            expected = model_shapes.get(f"{target}.weight")
            if found and expected and (shape[axis:][:1], len(shape)) != (expected[axis:][:1], len(expected)):
                raise EngineSetupError(
                    f"{setting} was made for another model: {name} has the shape {list(shape)}, and the layer that "
                    f"it changes has {list(expected)}; name the adapter of this model"
                )


def adapter_arguments(adapters: Sequence[Adapter], *, is_cpu: bool) -> dict[str, Any]:
    """Return the arguments of vLLM's engine that adapters need, whatever an operator says."""
    if not adapters:
        return {}
    rank = max(adapter.rank for adapter in adapters)
    return {
        "enable_lora": True,
        # On a CPU, vLLM gives a request without an adapter the weights in the last slot when it runs beside one with an
        # adapter. With a slot more than there are adapters, the last one stays empty, and changes nothing.
        "max_loras": len(adapters) + 1 if is_cpu else min(len(adapters), _MAX_AT_ONCE),
        "max_cpu_loras": len(adapters) + 1,
        "max_lora_rank": next(known for known in _RANKS if known >= rank),
    }
