"""`headrace doctor`: what this machine has, what it lacks, and what to type about it."""

from headrace.apps.cli.doctor.run import run_doctor

__all__ = ["run_doctor"]
