"""A LoRA adapter for the tiny model, as PEFT writes one."""

from pathlib import Path

import msgspec
import numpy as np

from headrace.models.bfloat16 import to_bfloat16_bits
from headrace.models.safetensors_file import TensorSpec, write_safetensors

HIDDEN, LAYERS = 128, 2
OUTPUTS = {"q_proj": 128, "v_proj": 64}


def write_tiny_adapter(folder: Path, *, seed: int, rank: int = 4, hidden: int = HIDDEN) -> Path:
    """Write random changes, large enough that the model says something else."""
    folder.mkdir(parents=True)
    chance = np.random.default_rng(seed)
    shapes = [
        (f"base_model.model.model.layers.{layer}.self_attn.{name}.lora_{side}.weight", shape)
        for layer in range(LAYERS)
        for name, outputs in OUTPUTS.items()
        for side, shape in (("A", (rank, hidden)), ("B", (outputs, rank)))
    ]
    specs = [TensorSpec(name, shape) for name, shape in shapes]
    values = (to_bfloat16_bits(chance.normal(0, 1.0, shape).astype(np.float32)) for _, shape in shapes)
    write_safetensors(folder / "adapter_model.safetensors", specs, pieces=values)
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": list(OUTPUTS), "bias": "none"}
    (folder / "adapter_config.json").write_bytes(msgspec.json.encode(config))
    return folder
