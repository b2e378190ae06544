"""What was typed."""

from msgspec import Struct

from headrace.apps.cli.accounts.options import Door


class UsageOptions(Struct, frozen=True, kw_only=True):
    """The command line of `headrace usage`.

    Attributes:
        by: what to group by, with commas.
        since: where to begin: `7d` ago, a date, or an instant; None for this month.
        until: where to end; None for now.
        tenant: of this tenant only, by its id or name.
        key: of this key only, by its id, prefix or name.
        model: of this served name only.
        as_json: print JSON.
        as_csv: print lines for a spreadsheet.
        door: which way in.
    """

    by: str
    since: str | None
    until: str | None
    tenant: str | None
    key: str | None
    model: str | None
    as_json: bool
    as_csv: bool
    door: Door
