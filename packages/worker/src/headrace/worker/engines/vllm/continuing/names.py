"""What the planner and the engine's process call the same thing."""

REPLAY_ARGUMENT = "headrace_replay"
REPLAY_PROCESSOR = "headrace.worker.engines.vllm.continuing.replay:ForcedReplay"
REPLAY_PROCESSOR_OF_ROWS = "headrace.worker.engines.vllm.continuing.forced_rows:ForcedRows"
