"""What the command lines of the production processes have in common."""

import argparse
from importlib.metadata import version


def make_process_parser(name: str, description: str, *, distribution: str) -> argparse.ArgumentParser:
    """Return a parser that knows `--config` and `--version`.

    Args:
        name: of the command.
        description: one sentence for `--help`.
        distribution: whose version `--version` says.
    """
    parser = argparse.ArgumentParser(
        prog=name,
        description=description,
        epilog="Every setting has an environment variable as well: see docs/operations.md.",
    )
    parser.add_argument("--config", metavar="FILE", help="settings file (default: headrace.toml, if it is there)")
    parser.add_argument("--version", action="version", version=version(distribution))
    return parser
