"""Beam search on the real engine, against three oracles: every answer there is, transformers' search and vLLM's own."""

import asyncio
import itertools
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
import pytest_asyncio

from headrace.models import write_tiny_model
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import SequenceFinished
from headrace.schema.messages import Message
from headrace.schema.request import BeamSearchParams, ChatCompletionRequest, GenerationParameters, OutputFlags
from headrace.schema.settings import EngineSettings, ModelSettings
from headrace.worker.engines.base import Engine, EngineJob
from headrace.worker.engines.build import build_engine
from tests.contract.engines.jobs import WORKER, Answer, read

pytestmark = [
    pytest.mark.engine,
    pytest.mark.asyncio(loop_scope="module"),
    # The first test pays for the start of vLLM.
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]

TEXT = "Where does the water run?"
Stopping = bool | Literal["never"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def made_engine(folder: Path) -> Engine:
    """Made outside of the event loop, as in production."""
    return build_engine(
        # The oracles compute in float32, and two answers may be close.
        ModelSettings(
            weights="tiny:random",
            slots=32,
            max_model_tokens=512,
            kv_cache_bytes=64 * 2**20,
            engine_options={"dtype": "float32"},
        ),
        name="tiny",
        engine=EngineSettings(kind="vllm", cpu_threads=1),
        weights=folder,
        script_text=None,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(made_engine: Engine) -> AsyncGenerator[Engine, None]:
    await made_engine.start()
    yield made_engine
    await made_engine.close()


class Oracle:
    """The same model in transformers."""

    def __init__(self, folder: Path) -> None:
        transformers: Any = pytest.importorskip("transformers")
        self._torch: Any = pytest.importorskip("torch")
        self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
        self.model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=self._torch.float32)
        messages = [{"role": "user", "content": TEXT}]
        self.prompt: list[int] = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
        self._known: dict[tuple[int, ...], list[float]] = {}

    def logits(self, tokens: tuple[int, ...]) -> list[float]:
        if tokens not in self._known:
            with self._torch.no_grad():
                logits = self.model(self._torch.tensor([[*self.prompt, *tokens]])).logits[0, -1]
            self._known[tokens] = logits.tolist()
        return self._known[tokens]

    def logprobs(self, tokens: tuple[int, ...], allowed: Sequence[int]) -> dict[int, float]:
        """Log probabilities of the next token, among those that are allowed."""
        logits = self.logits(tokens)
        total = math.log(math.fsum(math.exp(logits[token]) for token in allowed))
        return {token: logits[token] - total for token in allowed}

    def search(self, *, width: int, count: int, max_tokens: int, **options: Any) -> list[tuple[tuple[int, ...], float]]:
        """The answers of transformers' own beam search, with their scores."""
        found = self.model.generate(
            self._torch.tensor([self.prompt]),
            num_beams=width,
            num_return_sequences=count,
            max_new_tokens=max_tokens,
            do_sample=False,
            return_dict_in_generate=True,
            output_scores=True,
            **options,
        )
        ends = options.get("eos_token_id", [])
        answers: list[tuple[int, ...]] = []
        for row in found.sequences[:, len(self.prompt) :].tolist():
            length = next((i + 1 for i, token in enumerate(row) if token in ends), len(row))
            answers.append(tuple(row[:length]))
        return list(zip(answers, found.sequences_scores.tolist(), strict=True))


@pytest.fixture(scope="module")
def oracle(engine: Engine, folder: Path) -> Oracle:
    # After the engine, which is forked from this process and wants no other threads in it.
    return Oracle(folder)


def job_of(
    *,
    width: int,
    request_id: str = "beams",
    length_penalty: float = 1.0,
    early_stopping: Stopping = False,
    output: OutputFlags | None = None,
    **parameters: Any,
) -> EngineJob:
    beams = BeamSearchParams(width=width, length_penalty=length_penalty, early_stopping=early_stopping)
    return EngineJob(
        request_id=request_id,
        worker_id=WORKER,
        priority=5,
        request=ChatCompletionRequest(
            model="tiny",
            messages=(Message("user", TEXT),),
            generation_parameters=GenerationParameters(beam_search=beams, **parameters),
            output=output or OutputFlags(token_ids=True),
        ),
    )


def tokens_of(answer: Answer) -> list[tuple[int, ...]]:
    return [tuple(answer.token_ids[index]) for index in sorted(answer.token_ids)]


def vllm_of(engine: Engine) -> Any:
    """vLLM's own engine inside ours."""
    inside: Any = engine
    return inside._library._llm


async def is_idle(engine: Engine) -> bool:
    """Whether no request holds a block of the KV cache: only then the cache can be reset."""
    assert not vllm_of(engine).output_processor.has_unfinished_requests()
    return await vllm_of(engine).reset_prefix_cache()


def common_words(oracle: Oracle, count: int) -> list[int]:
    ranked = sorted(enumerate(oracle.logits(())), key=lambda item: -item[1])
    return [token for token, _ in ranked[:count]]


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, -1.0])
async def test_it_finds_the_best_of_every_answer_there_is(
    engine: Engine, oracle: Oracle, length_penalty: float
) -> None:
    allowed = common_words(oracle, 5)
    stop = allowed[1]

    def total(tokens: tuple[int, ...]) -> float:
        return math.fsum(oracle.logprobs(tokens[:i], allowed)[token] for i, token in enumerate(tokens))

    answers = [
        tokens
        for length in (1, 2, 3)
        for tokens in itertools.product(allowed, repeat=length)
        if stop not in tokens[:-1] and (length == 3 or tokens[-1] == stop)
    ]
    answers.sort(key=lambda tokens: -total(tokens) / len(tokens) ** length_penalty)
    job = job_of(
        width=32,
        length_penalty=length_penalty,
        early_stopping="never",
        n=6,
        max_tokens=3,
        provider_extensions={"vllm": {"allowed_token_ids": allowed, "stop_token_ids": [stop]}},
    )
    assert tokens_of(await read(engine, job)) == answers[:6]


@pytest.mark.parametrize("early_stopping", [True, False, "never"])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0, -1.0])
@pytest.mark.parametrize("likely", [2, 8, 20], ids="ends-from-{}".format)
async def test_it_finds_what_transformers_finds(
    engine: Engine, oracle: Oracle, early_stopping: Stopping, length_penalty: float, likely: int
) -> None:
    ends = common_words(oracle, 40)[likely : likely + 4]
    options: dict[str, Any] = {"early_stopping": early_stopping, "length_penalty": length_penalty}
    theirs = oracle.search(width=4, count=3, max_tokens=10, eos_token_id=ends, **options)
    job = job_of(width=4, n=3, max_tokens=10, provider_extensions={"vllm": {"stop_token_ids": ends}}, **options)
    ours = await read(engine, job)
    assert tokens_of(ours) == [tokens for tokens, _ in theirs]
    assert [ours.finished[index].finish_reason for index in range(3)] == [
        "stop" if tokens[-1] in ends else "length" for tokens, _ in theirs
    ]


async def test_it_finds_what_vllm_finds(engine: Engine, oracle: Oracle) -> None:
    from vllm.entrypoints.generate.beam_search.online import BeamSearchOnlineMixin
    from vllm.inputs import tokens_input
    from vllm.sampling_params import BeamSearchParams as VllmBeams

    class Online(BeamSearchOnlineMixin):
        renderer: Any = vllm_of(engine).renderer
        engine_client: Any = vllm_of(engine)

    online: Any = Online()
    prompt: Any = tokens_input(oracle.prompt)
    theirs: Any = None
    beams = VllmBeams(beam_width=5, max_tokens=12, ignore_eos=True)
    async for found in online.beam_search(prompt, "theirs", beams):
        theirs = found.outputs
    output = OutputFlags(token_ids=True, logprobs=True)
    ours = await read(engine, job_of(width=5, n=5, max_tokens=12, ignore_eos=True, output=output))
    assert tokens_of(ours) == [tuple(each.token_ids) for each in theirs]
    assert [ours.texts[index] for index in range(5)] == [each.text for each in theirs]


@pytest.mark.parametrize("given", [{"temperature": 0.0}, {"temperature": 1.5, "top_p": 0.2, "top_k": 1, "seed": 7}])
async def test_what_is_for_sampling_changes_nothing(engine: Engine, given: dict[str, Any]) -> None:
    plain = await read(engine, job_of(width=4, n=3, max_tokens=8))
    told = await read(engine, job_of(width=4, n=3, max_tokens=8, **given))
    assert tokens_of(told) == tokens_of(plain)
    assert len(told.token_ids) == 3


async def search(engine: Engine, oracle: Oracle, job: EngineJob, **constraint: Any) -> Answer:
    """Run a search under a constraint that is given as vLLM takes it."""
    from vllm.sampling_params import StructuredOutputsParams

    from headrace.worker.engines.vllm.beam.opening import BeamTask
    from headrace.worker.engines.vllm.beam.steps import VllmSteps
    from headrace.worker.engines.vllm.library import RenderedPrompt

    inside: Any = engine
    library = inside._library
    prompt = RenderedPrompt({"type": "token", "prompt_token_ids": oracle.prompt}, len(oracle.prompt))
    steps = VllmSteps(
        prompt,
        job.request_id,
        submit=partial(library.submit, priority=0),
        rest=lambda: asyncio.sleep(0),
        read=lambda queue: queue.get(),
        abort=library.abort_all,
        queues=set(),
    )
    parameters = job.request.generation_parameters
    task = BeamTask(
        request_id=job.request_id,
        prompt_token_ids=oracle.prompt,
        parameters=parameters,
        arguments={
            "max_tokens": parameters.max_tokens,
            "structured_outputs": StructuredOutputsParams(**constraint),
        },
    )
    answer = Answer()
    async for output in (await library.open_search(steps, task)).outputs():
        for grown in output.outputs:
            answer.texts[grown.index] = answer.texts.get(grown.index, "") + grown.text
            answer.token_ids.setdefault(grown.index, []).extend(grown.token_ids)
            if grown.finish_reason is not None:
                answer.finished[grown.index] = SequenceFinished(grown.index, grown.finish_reason)
    return answer


CHOICES = ("the river runs", "the rain", "a lake", "wind over stone", "always")


def list_allowed(oracle: Oracle, compiled: Any, tokens: tuple[int, ...]) -> list[int]:
    """What a grammar allows after some tokens, asked of xgrammar from the beginning each time."""
    import numpy as np
    import xgrammar

    matcher = xgrammar.GrammarMatcher(compiled)
    assert all(matcher.accept_token(token) for token in tokens)
    size = oracle.model.config.vocab_size
    bitmask: Any = xgrammar.allocate_token_bitmask(1, size)
    matcher.fill_next_token_bitmask(bitmask)
    bits = np.unpackbits(bitmask[0].numpy().view(np.uint8), bitorder="little")[:size]
    return [int(token) for token in bits.nonzero()[0]]


@pytest.mark.parametrize(
    ("constraint", "ebnf"),
    [
        ({"choice": list(CHOICES)}, "root ::= " + " | ".join(f'"{choice}"' for choice in CHOICES)),
        ({"regex": "(to|of)( [rs]un)?"}, 'root ::= ("to" | "of") (" " [rs] "un")?'),
    ],
    ids=["choice", "regex"],
)
async def test_under_a_constraint_it_finds_the_best_of_every_answer_it_allows(
    engine: Engine, oracle: Oracle, constraint: dict[str, Any], ebnf: str
) -> None:
    import xgrammar

    size = oracle.model.config.vocab_size
    info = xgrammar.TokenizerInfo.from_huggingface(oracle.tokenizer, vocab_size=size)
    compiled = xgrammar.GrammarCompiler(info).compile_grammar(ebnf)
    end = oracle.tokenizer.eos_token_id
    found: list[tuple[float, tuple[int, ...]]] = []

    def follow(tokens: tuple[int, ...], total: float) -> None:
        if tokens and tokens[-1] == end:
            found.append((total / len(tokens), tokens))
        # What is this unlikely is not among the best, and there are many ways to spell a word.
        elif total > -60:
            for token, logprob in oracle.logprobs(tokens, list_allowed(oracle, compiled, tokens)).items():
                follow((*tokens, token), total + logprob)

    follow((), 0.0)
    found.sort(reverse=True)
    job = job_of(width=32, early_stopping="never", n=3, max_tokens=24)
    answer = await search(engine, oracle, job, **constraint)
    assert tokens_of(answer) == [tokens for _, tokens in found[:3]]
    assert {event.finish_reason for event in answer.finished.values()} == {"stop"}


SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["rain", "wind"]}, "level": {"type": "integer", "maximum": 9, "minimum": 0}},
    "required": ["name", "level"],
    "additionalProperties": False,
}


async def test_every_answer_is_what_the_schema_says(engine: Engine, oracle: Oracle) -> None:
    answer = await search(engine, oracle, job_of(width=4, n=4, max_tokens=60), json=SCHEMA)
    assert len(set(answer.texts.values())) == 4
    for text in answer.texts.values():
        value = msgspec.json.decode(text)
        assert value.keys() == {"name", "level"}
        assert value["name"] in ("rain", "wind")
        assert 0 <= value["level"] <= 9


async def test_text_comes_before_the_search_is_over_and_joins_to_the_answer(engine: Engine, oracle: Oracle) -> None:
    job = job_of(width=2, n=1, max_tokens=60, output=OutputFlags(token_ids=True, logprobs=True, top_logprobs=1))
    answer = await read(engine, job)
    # Started, then the answer in more than one piece.
    assert len(answer.steps) > 3
    assert answer.text == oracle.tokenizer.decode(answer.token_ids[0])
    assert answer.usage is not None
    assert answer.usage.output_tokens == len(answer.token_ids[0]) == 60


async def test_a_stop_text_that_spans_tokens_ends_an_answer_before_it(engine: Engine) -> None:
    free = (await read(engine, job_of(width=3, max_tokens=30, early_stopping=True))).text
    stop = free[12:19]
    answer = await read(engine, job_of(width=3, max_tokens=30, early_stopping=True, stop=(stop, "never said")))
    assert all(stop not in text for text in answer.texts.values())
    assert answer.finished[0].stop_sequence in (stop, None)
    again = await read(engine, job_of(width=1, max_tokens=30, early_stopping=True, stop=("r",)))
    assert again.finished[0].stop_sequence == "r"
    assert "r" not in again.text


async def test_least_length_keeps_an_answer_from_ending(engine: Engine, oracle: Oracle) -> None:
    ends = common_words(oracle, 3)
    extensions = {"vllm": {"stop_token_ids": ends}}
    answer = await read(engine, job_of(width=3, n=3, max_tokens=8, min_tokens=4, provider_extensions=extensions))
    for tokens in tokens_of(answer):
        assert not set(tokens[:4]) & set(ends)
        assert len(tokens) > 4


async def test_what_it_can_not_honour_is_refused_before_it_starts(engine: Engine) -> None:
    with pytest.raises(HeadraceError) as caught:
        await anext(engine.generate(job_of(width=2, presence_penalty=1.0)))
    assert caught.value.code is ErrorCode.UNSUPPORTED_PARAMETER
    assert caught.value.param == "generation_parameters.presence_penalty"


async def test_closing_in_the_middle_leaves_no_request_in_the_engine(engine: Engine) -> None:
    async with aclosing(engine.generate(job_of(width=8, n=1, max_tokens=400))) as steps:
        await anext(steps)
        await anext(steps)
    assert await is_idle(engine)


async def test_cancelling_in_the_middle_leaves_no_request_in_the_engine(engine: Engine) -> None:
    going = asyncio.Event()

    async def read_on(number: int) -> None:
        job = job_of(width=8, request_id=f"cancelled-{number}", max_tokens=400)
        async with aclosing(engine.generate(job)) as steps:
            async for _ in steps:
                going.set()

    async with asyncio.TaskGroup() as tasks:
        readers = [tasks.create_task(read_on(number)) for number in range(3)]
        await going.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        for reader in readers:
            reader.cancel()
    assert await is_idle(engine)


async def test_searches_run_beside_each_other_and_beside_samples(engine: Engine) -> None:
    alone = await read(engine, job_of(width=4, n=2, max_tokens=20))
    jobs = [job_of(width=4, request_id=f"beside-{number}", n=2, max_tokens=20) for number in range(3)]
    together = await asyncio.gather(*(read(engine, job) for job in jobs))
    assert [tokens_of(each) for each in together] == [tokens_of(alone)] * 3
