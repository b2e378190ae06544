"""`headrace doctor`: what this machine has, what it lacks, and what to type about it."""

from headrace.apps.cli.doctor.run import DoctorOptions, run_doctor

__all__ = ["DoctorOptions", "run_doctor"]
