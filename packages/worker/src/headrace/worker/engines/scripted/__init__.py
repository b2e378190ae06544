"""An engine without a model: it plays a script, at a set pace, with faults on demand.

It is a product part and not a mock. Tests use it to make an engine stall, fail or die at a known token; load tests use
it because it costs almost nothing, so that what is measured is everything around it; and with it the whole system runs
on a machine that can't run a model. It keeps every promise of `Engine`, under the same tests as vLLM.
"""

from headrace.worker.engines.scripted.engine import ScriptedEngine
from headrace.worker.engines.scripted.script import Answer, Rule, Script, ScriptedCall, ScriptError

__all__ = ["Answer", "Rule", "Script", "ScriptError", "ScriptedCall", "ScriptedEngine"]
