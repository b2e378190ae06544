"""OpenAI's service tiers, of which one means something here: `flex` asks for less and waits longer."""

from headrace.schema.names import Lane

FLEX = "flex"
DEFAULT = "default"


def to_lane(service_tier: str | None) -> Lane:
    """Return the lane that a tier asks for; every other tier is served as the default one is."""
    return "batch" if service_tier == FLEX else "online"


def shown_tier(service_tier: str | None) -> str:
    """Return the tier that a call was served with."""
    return FLEX if service_tier == FLEX else DEFAULT
