"""Every setting, with its type, its limits, its default and one line that says what it does.

The description in each `Meta` is the documentation: the table in docs/operations.md is written from it, and a test
holds the two together. A section is a Struct; a section whose tables have names (`[models.NAME]`) is a dict of Structs.
"""

from msgspec import Struct, field

from headrace.schema.settings.accounts import AccountsSettings
from headrace.schema.settings.gateway import GatewaySettings
from headrace.schema.settings.local import LogSettings, StorageSettings
from headrace.schema.settings.models import ModelSettings, demo_models
from headrace.schema.settings.retention import RetentionSettings
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
    retention: RetentionSettings = RetentionSettings()
    worker: WorkerSettings = WorkerSettings()
    engine: EngineSettings = EngineSettings()
    storage: StorageSettings = StorageSettings()
    log: LogSettings = LogSettings()
    models: dict[str, ModelSettings] = field(default_factory=demo_models)
