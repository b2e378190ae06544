from pathlib import Path

import pytest

from headrace.schema.settings import EngineSettings, ModelSettings
from headrace.worker.engines.base import EngineSetupError
from headrace.worker.engines.build import build_engine
from headrace.worker.engines.scripted import ScriptedEngine
from tests.contract.engines.jobs import make_job, read

SCRIPTED = EngineSettings(kind="scripted")


async def test_the_scripted_engine_plays_the_file() -> None:
    model = ModelSettings(weights="", slots=3)
    engine = build_engine(
        model, name="m", engine=SCRIPTED, weights=None, script_text='step_seconds = 0\n[[rules]]\ntext = "Played."'
    )
    assert engine.slots == 3
    assert (await read(engine, make_job("a"))).text == "Played."


def test_a_model_may_choose_its_own_engine() -> None:
    model = ModelSettings(weights="", engine="scripted")
    engine = build_engine(model, name="m", engine=EngineSettings(kind="vllm"), weights=None, script_text=None)
    assert isinstance(engine, ScriptedEngine)


def test_a_wrong_script_is_a_wrong_setup() -> None:
    with pytest.raises(EngineSetupError, match="txt"):
        build_engine(
            ModelSettings(weights=""), name="m", engine=SCRIPTED, weights=None, script_text="[[rules]]\ntxt = 1"
        )


def test_vllm_needs_weights() -> None:
    with pytest.raises(EngineSetupError, match=r"models\.m\.weights"):
        build_engine(
            ModelSettings(weights=""), name="m", engine=EngineSettings(kind="vllm"), weights=None, script_text=None
        )


def test_importing_the_engines_does_not_import_vllm() -> None:
    # In a process of its own: the engine tests of this run may have imported it here.
    import subprocess
    import sys

    code = "import sys, headrace.worker.engines.build; print('vllm' in sys.modules, 'torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]


@pytest.mark.engine
@pytest.mark.timeout(120)
def test_settings_that_vllm_refuses_are_told_to_the_operator(tmp_path: Path) -> None:
    # In a process of its own: making an engine sets the environment.
    import subprocess
    import sys

    program = tmp_path / "program.py"
    program.write_text(
        "from pathlib import Path\n"
        "from headrace.schema.settings import EngineSettings, ModelSettings\n"
        "from headrace.worker.engines.base import EngineSetupError\n"
        "from headrace.worker.engines.build import build_engine\n"
        "for options in ({'quantisation': 'fp8'}, {'dtype': 'float7'}):\n"
        "    try:\n"
        "        build_engine(ModelSettings(weights='x', engine_options=options), name='m', engine=EngineSettings(),\n"
        "                     weights=Path('/nowhere'), script_text=None)\n"
        "    except EngineSetupError as error:\n"
        "        print(error)\n"
    )
    result = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=True)
    assert "models.m.engine_options.quantisation is not an argument" in result.stdout
    assert "vLLM could not make an engine" in result.stdout
