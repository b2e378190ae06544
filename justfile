# Headrace's recipes. `just` alone lists them.

set shell := ["bash", "-euo", "pipefail", "-c"]
set positional-arguments := true

export PYTHONDONTWRITEBYTECODE := ""

headrace := ".venv/bin/headrace"
run := "uv run --no-sync"

[private]
default:
    @just --list --unsorted

# ---------------------------------------------------------------- run

# Serve a model on this machine, everything in one process tree: --port N, --model NAME, --engine scripted, --config FILE
[group('run')]
serve *arguments:
    @just _environment "$@"
    @exec {{ headrace }} serve "$@"

# The same on real parts: RabbitMQ, Redis, two gateways, --workers K; and --port N, --engine scripted|vllm, --model NAME
[group('run')]
stack *arguments:
    @just services
    @just _environment "$@"
    @exec {{ headrace }} stack "$@"

# Talk to a model that is being served: just chat MODEL [PROMPT]
[group('run')]
chat *arguments:
    @just _environment --engine scripted
    @exec {{ headrace }} chat "$@"

# Say what is reachable, what is wrong, and how to mend it
[group('run')]
doctor *arguments:
    @just _environment --engine scripted
    @exec {{ headrace }} doctor "$@"

# ---------------------------------------------------------------- install

# Install RabbitMQ and Redis from the system's packages where they are missing, or say what to type
[group('install')]
services:
    @sh infra/services/install.sh

# The same and PostgreSQL, for the tests
[group('install')]
test-services:
    @sh infra/services/install.sh --tests

# Install the engine for this machine into .venv: vLLM for the GPU where there is one, else for the CPU
[group('install')]
engine *arguments:
    @python3 infra/engine/install.py "$@"

# What the command line asks for: the scripted engine needs no vLLM
[private]
_environment *arguments:
    #!/usr/bin/env bash
    set -euo pipefail
    case " $* ${HEADRACE_ENGINE_KIND:+--engine $HEADRACE_ENGINE_KIND} " in
        *" --help "* | *" -h "* | *" --engine scripted "* | *" --engine=scripted "*) uv sync --locked --inexact ;;
        *) python3 infra/engine/install.py ;;
    esac

# ---------------------------------------------------------------- test

# All checks and tests, from a fresh clone: installs what they need
[group('test')]
test: test-services engine check unit contract (integration "-m" "not long") e2e (clients "-m" "not long")

# Lint, format, types, and who may import whom
[group('test')]
check: _synced
    {{ run }} ruff check
    {{ run }} ruff format --check
    {{ run }} pyright
    {{ run }} lint-imports

# Functions of values: seconds
[group('test')]
unit *arguments: _synced
    {{ run }} pytest tests/unit -n 2 "$@"

# One suite for each contract, and every implementation of it
[group('test')]
contract *arguments: _synced
    {{ run }} pytest tests/contract -n 2 --dist loadfile "$@"

# Real RabbitMQ, Redis, PostgreSQL and vLLM, started and stopped by the tests; three files at a time, since most of it is waiting
[group('test')]
integration *arguments: _synced
    {{ run }} pytest tests/integration -n 3 --dist loadfile "$@"

# As a user would: the commands, over HTTP
[group('test')]
e2e *arguments: _synced
    {{ run }} pytest tests/e2e -n 2 --dist loadfile "$@"

# The clients people have: OpenAI's and Anthropic's for Python and JavaScript, LangChain's suite; attacks on real vLLM
[group('test')]
clients *arguments: _synced
    {{ run }} pytest tests/clients "$@"

# Put files in the form that `just check` wants
[group('test')]
format: _synced
    {{ run }} ruff check --fix
    {{ run }} ruff format

# ---------------------------------------------------------------- measure

# What the queue, and counting, add to the time to the first token: memory against RabbitMQ against quotas, in one run
[group('measure')]
bench *arguments: services _synced
    {{ run }} python -m tests.bench.first_token "$@"

# Tokens a second, time between tokens and CPU a token: the bare engine, memory and RabbitMQ; --step 0 floods
[group('measure')]
bench-streams *arguments: services _synced
    {{ run }} python -m tests.bench.streaming "$@"

# vLLM's own OpenAI server against ours, with the same tiny model on the CPU: first token, time between tokens, serving CPU
[group('measure')]
bench-vllm *arguments: services engine
    {{ run }} python -m tests.bench.vllm_server "$@"

# The time to the first token of an urgent request while batch work fills the engine, against an idle one: --engine vllm, --beams N
[group('measure')]
bench-lanes *arguments: _synced
    {{ run }} python -m tests.bench.lanes "$@"

# From the kill of a worker to the next new token of its answer: --engine scripted|vllm, --kills N
[group('measure')]
bench-takeover *arguments: services _synced
    {{ run }} python -m tests.bench.takeover "$@"

# What a chunk of a provider's stream costs: CPU microseconds from the socket to the client's frame; --rounds N
[group('measure')]
bench-providers *arguments: _synced
    {{ run }} python -m tests.bench.provider_chunks "$@"

# Requests while gateways, workers and services are killed and cut off: --requests N, --seed N, --faults a,b, --engine scripted|vllm; the last line is a report in JSON
[group('measure')]
chaos *arguments: services _synced
    {{ run }} python -m tests.chaos.run "$@"

[private]
_synced:
    @uv sync --locked --inexact --quiet
