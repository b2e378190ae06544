import pytest

from headrace.worker.engines.scripted import Script, ScriptError
from headrace.worker.engines.scripted.script import DEMO_TEXTS

SCRIPT = """
step_seconds = 0.02

[[rules]]
when = "weather"
text = ["It rains.", "The sun shines."]
first_token_seconds = 0.5

[[rules]]
when = "break"
tokens = 100
fault = "hang"
fault_after_tokens = 7

[[rules]]
text = "Anything else."
"""


def test_the_first_rule_that_matches_answers() -> None:
    script = Script.parse(SCRIPT)
    assert script.step_seconds == 0.02
    assert script.find_answer("what is the weather?").texts == ("It rains.", "The sun shines.")
    assert script.find_answer("break it").fault == "hang"
    assert script.find_answer("").texts == ("Anything else.",)


def test_without_a_rule_the_built_in_texts_answer() -> None:
    assert Script().find_answer("hello").texts == DEMO_TEXTS
    assert all("scripted" in text for text in DEMO_TEXTS)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("steps = 1", "steps"),
        ("[[rules]]\ntxt = 'x'", "rules[0].txt"),
        ("[[rules]]\ntext = 'x'\n[[rules]]\ntokens = 'many'", "rules[1].tokens"),
        ("[[rules]]\ntext = 'x'\ntokens = 3", "either text or tokens"),
        ("[[rules]]\ntext = []", "empty list"),
        ("[[rules]]\nfault = 'explode'", "rules[0].fault"),
        ("[[rules]]\nfault_after_tokens = 3", "needs a fault"),
        ("step_seconds = -1", "step_seconds"),
        ("[[rules", "not valid TOML"),
    ],
)
def test_a_wrong_script_is_refused_by_name(text: str, place: str) -> None:
    with pytest.raises(ScriptError) as caught:
        Script.parse(text)
    assert place in str(caught.value)
