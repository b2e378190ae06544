"""What the planner and the engine's process call the same thing."""

REPLAY_ARGUMENT = "headrace_replay"
REPLAY_PROCESSOR = "headrace.worker.engines.vllm.continuing.replay:ForcedReplay"
