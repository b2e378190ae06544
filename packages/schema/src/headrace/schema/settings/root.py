"""Every setting, with its type, its limits, its default and one line that says what it does.

The description in each `Meta` is the documentation: the table in docs/operations.md is written from it, and a test
holds the two together. A section is a Struct; a section whose tables have names (`[models.NAME]`) is a dict of Structs.
"""

from msgspec import Struct, field

from headrace.schema.settings.accounts import AccountsSettings
from headrace.schema.settings.gateway import GatewaySettings
from headrace.schema.settings.local import LogSettings, StorageSettings
from headrace.schema.settings.metering import MeteringSettings, PriceSettings
from headrace.schema.settings.models import ModelSettings, demo_models
from headrace.schema.settings.providers import ProviderSettings
from headrace.schema.settings.retention import RetentionSettings
from headrace.schema.settings.routes import RouteSettings, RoutingSettings
from headrace.schema.settings.scheduler import SchedulerSettings
from headrace.schema.settings.services import BrokerSettings, ObjectSettings, RedisSettings
from headrace.schema.settings.worker import EngineSettings, WorkerSettings


class Settings(Struct, frozen=True, kw_only=True):
    """All settings of one process."""

    gateway: GatewaySettings = GatewaySettings()
    accounts: AccountsSettings = AccountsSettings()
    broker: BrokerSettings = BrokerSettings()
    redis: RedisSettings = RedisSettings()
    objects: ObjectSettings = ObjectSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    routing: RoutingSettings = RoutingSettings()
    retention: RetentionSettings = RetentionSettings()
    worker: WorkerSettings = WorkerSettings()
    engine: EngineSettings = EngineSettings()
    metering: MeteringSettings = MeteringSettings()
    storage: StorageSettings = StorageSettings()
    log: LogSettings = LogSettings()
    models: dict[str, ModelSettings] = field(default_factory=demo_models)
    providers: dict[str, ProviderSettings] = field(default_factory=dict[str, ProviderSettings])
    routes: dict[str, RouteSettings] = field(default_factory=dict[str, RouteSettings])
    prices: dict[str, PriceSettings] = field(default_factory=dict[str, PriceSettings])
