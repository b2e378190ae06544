"""The conversation: what is typed, what is printed, and what Ctrl-C means at each moment."""

import importlib
import os
import sys
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

from headrace.apps.cli.chat.client import ChatClient, ChatError, ChatMessage
from headrace.apps.cli.chat.options import ChatOptions
from headrace.apps.cli.environment import read_environment

FAILED = 1
BAD_USAGE = 2
INTERRUPTED = 130
# A model's text may hold anything; on a terminal, what is not text stays out.
CONTROL_CHARACTERS = {code: None for code in (*range(0x20), 0x7F, *range(0x80, 0xA0)) if chr(code) not in "\n\t"}
GREETING = "Ctrl-C stops an answer, /reset forgets the conversation, /quit or Ctrl-D leaves."


def run_chat(options: ChatOptions) -> int:
    """Hold a conversation and return the exit status: 0, 1 for a failure, 130 after Ctrl-C."""
    try:
        api_key = read_api_key(read_environment())
    except OSError as error:
        _complain(f"HEADRACE_API_KEY_FILE: can't read {error.filename}: {error.strerror}")
        return BAD_USAGE
    with closing(ChatClient(options, api_key=api_key)) as client:
        conversation = Conversation(client, system=options.system)
        try:
            if options.prompt is None and sys.stdin.isatty():
                return _converse(conversation, options)
            prompt = options.prompt if options.prompt not in (None, "-") else sys.stdin.read()
            return _ask_once(conversation, prompt)
        except BrokenPipeError:
            # Who reads us has enough; without this, Python complains when it flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILED


def read_api_key(environ: Mapping[str, str]) -> str | None:
    """Return the key that the environment holds or names a file for.

    Raises:
        OSError: the file can't be read.
    """
    if name := environ.get("HEADRACE_API_KEY_FILE"):
        return Path(name).read_text(encoding="utf-8").strip()
    return environ.get("HEADRACE_API_KEY") or None


class Conversation:
    """Messages so far. An answer that did not end well leaves no trace in them."""

    def __init__(self, client: ChatClient, *, system: str | None) -> None:
        self._client = client
        self._start = [ChatMessage("system", system)] if system else []
        self.messages = list(self._start)

    def reset(self) -> None:
        """Forget everything but the system message."""
        self.messages = list(self._start)

    def ask(self, prompt: str) -> None:
        """Send a prompt and print the answer as it comes.

        Raises:
            ChatError: there is no answer, or not a whole one.
            KeyboardInterrupt: Ctrl-C; the server was told.
        """
        messages = [*self.messages, ChatMessage("user", prompt)]
        answer: list[str] = []
        cut_off = False
        try:
            for event in self._client.stream_answer(messages):
                if event.text:
                    answer.append(event.text)
                    _print_text(event.text)
                cut_off = cut_off or event.finish_reason == "length"
        except KeyboardInterrupt:
            self._client.cancel()
            raise
        finally:
            if answer and not answer[-1].endswith("\n"):
                _print_text("\n")
        if cut_off:
            _complain("[cut off: no more tokens were allowed; see --max-tokens]")
        self.messages = [*messages, ChatMessage("assistant", "".join(answer))]


def _ask_once(conversation: Conversation, prompt: str | None) -> int:
    if not prompt or not prompt.strip():
        _complain("the prompt is empty: give it as an argument or on standard input")
        return BAD_USAGE
    try:
        conversation.ask(prompt)
    except ChatError as error:
        _complain(str(error))
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _converse(conversation: Conversation, options: ChatOptions) -> int:
    with suppress(ImportError):
        importlib.import_module("readline")  # gives input() its history and its line editing
    _print_text(f"{options.model} at {options.url}. {GREETING}\n")
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            _print_text("\n")
            return 0
        except KeyboardInterrupt:
            _print_text("\n")
            continue
        match line:
            case "":
                continue
            case "/quit" | "/exit":
                return 0
            case "/reset":
                conversation.reset()
            case _ if line.startswith("/"):
                _complain(f"there is no {line.split()[0]}; {GREETING}")
            case _:
                _answer(conversation, line)


def _answer(conversation: Conversation, line: str) -> None:
    try:
        conversation.ask(line)
    except ChatError as error:
        _complain(str(error))
    except KeyboardInterrupt:
        _complain("[stopped]")


def _print_text(text: str) -> None:
    sys.stdout.write(text.translate(CONTROL_CHARACTERS) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
