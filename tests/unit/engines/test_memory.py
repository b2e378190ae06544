"""Models that do not fit into this machine together are refused with the numbers."""

from pathlib import Path

import pytest

from headrace.schema.settings import ModelSettings
from headrace.worker.engines.base import EngineSetupError
from headrace.worker.engines.memory import MachineMemory, ModelNeed, check_memory, list_needs

GIB = 2**30
MEMORY = MachineMemory(kind="memory", total_bytes=8 * GIB, default_kv_bytes=GIB // 2)


def test_what_a_model_needs_is_its_weights_and_its_cache(tmp_path: Path) -> None:
    (tmp_path / "model-1.safetensors").write_bytes(b"x" * 1000)
    (tmp_path / "model-2.safetensors").write_bytes(b"x" * 24)
    (tmp_path / "config.json").write_bytes(b"{}")
    models = {
        "large": ModelSettings(weights="x", kv_cache_bytes=GIB),
        "plain": ModelSettings(weights="x"),
        "scripted": ModelSettings(weights="x"),
    }
    needs = list_needs(models, {"large": tmp_path, "plain": tmp_path}, MEMORY)
    assert needs == [
        ModelNeed(model="large", weights_bytes=1024, kv_bytes=GIB),
        ModelNeed(model="plain", weights_bytes=1024, kv_bytes=GIB // 2),
    ]


def test_what_fits_is_fine() -> None:
    check_memory([ModelNeed(model="a", weights_bytes=7 * GIB, kv_bytes=GIB)], MEMORY)


def test_what_does_not_fit_is_refused_with_numbers_and_settings() -> None:
    needs = [ModelNeed(model=name, weights_bytes=4 * GIB, kv_bytes=GIB) for name in ("a", "b")]
    with pytest.raises(EngineSetupError) as refusal:
        check_memory(needs, MEMORY)
    message = str(refusal.value)
    for part in ("10.00 GiB", "8.00 GiB of memory", "4.00 GiB of weights", "models.b.kv_cache_bytes", "worker.models"):
        assert part in message
