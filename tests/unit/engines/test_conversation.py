"""Messages for chat templates, and tools for models whose template knows none."""

from typing import Any

import msgspec
import pytest

from headrace.schema.errors import HeadraceError
from headrace.schema.messages import ImagePart, Message, ReasoningPart, TextPart, ToolCallPart, ToolResultPart
from headrace.schema.tools import Tool
from headrace.worker.engines.vllm.prompt.conversation import ImageRules, has_images, write_conversation, write_tools
from headrace.worker.engines.vllm.prompt.told_tools import tell_tools, template_knows_tools

CALL = ToolCallPart(id="c1", name="get_weather", arguments='{"city": "Paris"}')
RESULT = ToolResultPart(tool_call_id="c1", content="sunny")
TOOL = Tool(name="get_weather", description="Weather", parameters={"type": "object", "properties": {}})
IMAGE = ImagePart(url="data:image/png;base64,AAAA", detail="low")
SEES = ImageRules(can_see=True)


def write(*messages: Message) -> list[dict[str, Any]]:
    return write_conversation(messages, SEES)


def test_a_turn_with_tools_is_in_the_form_of_openai() -> None:
    conversation = write(
        Message("system", "Be brief"),
        Message("user", (TextPart("Weather"), TextPart("?")), name="ann"),
        Message("assistant", (ReasoningPart("Hm"), TextPart("Let me see"), CALL)),
        Message("tool", (RESULT,)),
    )
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    assert conversation == [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": "Weather?", "name": "ann"},
        {"role": "assistant", "content": "Let me see", "reasoning": "Hm", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny", "name": "get_weather"},
    ]


def test_results_in_one_message_are_messages_of_their_own_and_errors_say_so() -> None:
    failed = ToolResultPart(tool_call_id="c2", content=(TextPart("no"), TextPart("pe")), is_error=True)
    contents = [message["content"] for message in write(Message("tool", (RESULT, failed)))]
    assert contents == ["sunny", "Error: nope"]


def test_an_image_keeps_its_place() -> None:
    (message,) = write(Message("user", (TextPart("What is"), IMAGE, TextPart("this?"))))
    assert [part["type"] for part in message["content"]] == ["text", "image_url", "text"]
    assert message["content"][1]["image_url"] == {"url": IMAGE.url, "detail": "low"}
    assert has_images([Message("user", (IMAGE,))])
    assert has_images([Message("tool", (ToolResultPart(tool_call_id="c1", content=(IMAGE,)),))])
    assert not has_images([Message("user", "data:image/png"), Message("tool", (RESULT,))])


@pytest.mark.parametrize(
    ("url", "rules", "reason"),
    [
        (IMAGE.url, ImageRules(), "takes text only"),
        ("https://example.com/a.png", SEES, "must be a data: URL"),
        ("http://10.0.0.1/a.png", ImageRules(can_see=True, allowed_hosts=frozenset({"10.0.0.1"})), "by https"),
        ("file:///etc/passwd", SEES, "must be a data: URL"),
        (
            "https://evil.example/?x=ok.example",
            ImageRules(can_see=True, allowed_hosts=frozenset({"ok.example"})),
            "host",
        ),
        ("data:text/html,x", SEES, "must be a data: URL"),
    ],
)
def test_an_image_from_elsewhere_is_refused_by_its_place(url: str, rules: ImageRules, reason: str) -> None:
    for message in (
        Message("user", (TextPart("x"), ImagePart(url=url))),
        Message("tool", (RESULT, ToolResultPart(tool_call_id="c", content=(ImagePart(url=url),)))),
    ):
        with pytest.raises(HeadraceError) as caught:
            write_conversation([Message("user", "hi"), message], rules)
        assert caught.value.param == "messages[1].content[1]"
        assert reason in caught.value.message


def test_an_allowed_host_is_allowed() -> None:
    rules = ImageRules(can_see=True, allowed_hosts=frozenset({"ok.example"}))
    assert write_conversation([Message("user", (ImagePart(url="https://ok.example/a.png"),))], rules)


def test_tools_are_told_where_the_template_knows_none() -> None:
    conversation = write(
        Message("system", "Be brief"),
        Message("user", "Weather?"),
        Message("assistant", (TextPart("Let me see"), CALL)),
        Message("tool", (RESULT, RESULT)),
        Message("user", "And now?"),
    )
    told = tell_tools(conversation, write_tools([TOOL]))
    assert [message["role"] for message in told] == ["system", "user", "assistant", "user"]
    system = told[0]["content"]
    assert system.startswith("Be brief\n\n")
    line = system.split("<tools>\n")[1].split("\n</tools>")[0]
    assert msgspec.json.decode(line)["function"]["name"] == "get_weather"
    assert told[2]["content"] == (
        'Let me see\n<tool_call>\n{"name":"get_weather","arguments":{"city":"Paris"}}\n</tool_call>'
    )
    response = "<tool_response>\nsunny\n</tool_response>"
    assert told[3]["content"] == f"{response}\n{response}\nAnd now?"
    assert "tool_calls" not in told[2]


def test_without_tools_nothing_is_told() -> None:
    conversation = write(Message("user", "Hi"))
    assert tell_tools(conversation, []) == conversation
    (first, _) = tell_tools(conversation, write_tools([Tool(name="f")]))
    assert first["role"] == "system"
    assert '"parameters":{"type":"object","properties":{}}' in first["content"]


def test_arguments_that_are_no_json_stay_as_they_were() -> None:
    broken = ToolCallPart(id="c1", name="f", arguments='{"a": ')
    (message,) = tell_tools(write(Message("assistant", (broken,))), [])
    assert '"arguments":"{\\"a\\": "' in message["content"]


@pytest.mark.parametrize(("template", "knows"), [(None, False), ("{{ messages }}", False), ("{% if tools %}", True)])
def test_whether_a_template_knows_tools(template: str | None, knows: bool) -> None:
    assert template_knows_tools(template) is knows
