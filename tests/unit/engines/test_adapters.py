"""What an operator may get wrong about adapters is said before vLLM starts."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.models import write_tiny_model
from headrace.worker.engines.base import EngineSetupError
from headrace.worker.engines.vllm.adapters import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    Adapter,
    adapter_arguments,
    read_adapters,
)
from tests.support.adapters import write_tiny_adapter


def write_adapter(folder: Path, **config: Any) -> str:
    write_tiny_adapter(folder, seed=1)
    (folder / CONFIG_FILE).write_bytes(msgspec.json.encode({"r": 8, "peft_type": "LORA", **config}))
    return str(folder)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("weights") / "tiny")


def test_adapters_are_numbered_and_the_widest_decides_the_rank(weights: Path, tmp_path: Path) -> None:
    folders = {
        "first": write_adapter(tmp_path / "a", r=4),
        "second": write_adapter(tmp_path / "b", r=8, rank_pattern={"q_proj": 20}),
    }
    adapters = read_adapters(folders, model="m", weights=weights)
    assert [(each.name, each.number, each.rank) for each in adapters] == [("first", 1, 4), ("second", 2, 20)]
    assert adapters[0].folder == tmp_path / "a"
    arguments = {"enable_lora": True, "max_loras": 2, "max_cpu_loras": 3, "max_lora_rank": 32}
    assert adapter_arguments(adapters, is_cpu=False) == arguments
    assert adapter_arguments([], is_cpu=False) == {}


def test_many_adapters_are_not_all_mixed_at_once() -> None:
    adapters = [Adapter(f"a{i}", Path(), 8, i) for i in range(1, 21)]
    assert adapter_arguments(adapters, is_cpu=False)["max_loras"] == 8
    # The last slot is what vLLM's CPU build gives to a request without an adapter.
    assert adapter_arguments(adapters, is_cpu=True)["max_loras"] == 21


@pytest.mark.parametrize("hidden", [96, 160])
def test_an_adapter_of_another_model_is_refused(weights: Path, tmp_path: Path, hidden: int) -> None:
    folder = write_tiny_adapter(tmp_path / "a", seed=1, hidden=hidden)
    with pytest.raises(
        EngineSetupError, match=rf"for another model: .*q_proj.lora_A.weight has the shape \[4, {hidden}\]"
    ):
        read_adapters({"x": str(folder)}, model="m", weights=weights)


def test_a_file_that_is_no_safetensors_is_refused(weights: Path, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a")
    (tmp_path / "a" / WEIGHTS_FILE).write_bytes(b"nothing of the kind")
    with pytest.raises(EngineSetupError, match="can't be read"):
        read_adapters({"x": folder}, model="m", weights=weights)


def test_a_folder_that_is_not_there_is_named(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineSetupError, match=r"models\.m\.adapters\.x is '.*none', which is not a folder; name the"):
        read_adapters({"x": str(tmp_path / "none")}, model="m", weights=weights)


@pytest.mark.parametrize("file", [CONFIG_FILE, WEIGHTS_FILE])
def test_a_folder_without_an_adapter_is_told_what_to_do(weights: Path, tmp_path: Path, file: str) -> None:
    folder = write_adapter(tmp_path / "a")
    (tmp_path / "a" / file).unlink()
    with pytest.raises(EngineSetupError, match=rf"there is no {file} in .*save_pretrained"):
        read_adapters({"x": folder}, model="m", weights=weights)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"r": "eight"}, "adapter_config.json is not a PEFT configuration"),
        ({"peft_type": "PROMPT_TUNING"}, "of the kind PROMPT_TUNING; vLLM serves LORA"),
        ({"use_dora": True}, "of the kind DORA"),
        ({"r": 1024}, "has rank 1024; vLLM serves up to 512"),
    ],
)
def test_an_adapter_that_vllm_can_not_serve_is_refused(
    weights: Path, tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(EngineSetupError, match=message):
        read_adapters({"x": write_adapter(tmp_path / "a", **config)}, model="m", weights=weights)
