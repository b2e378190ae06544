"""The settings: what they are, what they mean, and how they are read without touching a file or the environment."""

from headrace.schema.settings.accounts import AccountsSettings
from headrace.schema.settings.gateway import GatewaySettings
from headrace.schema.settings.load import ConfigSource, SettingsError, load_settings
from headrace.schema.settings.local import LogSettings, StorageSettings
from headrace.schema.settings.metering import MeteringSettings, PriceSettings
from headrace.schema.settings.models import ModelSettings, served_names
from headrace.schema.settings.providers import ProviderSettings
from headrace.schema.settings.retention import RetentionSettings
from headrace.schema.settings.root import Settings
from headrace.schema.settings.routes import RouteSettings, RoutingSettings, TargetSettings
from headrace.schema.settings.scheduler import SchedulerSettings
from headrace.schema.settings.services import BrokerSettings, ObjectSettings, RedisSettings
from headrace.schema.settings.values import Secret
from headrace.schema.settings.worker import EngineSettings, WorkerSettings

__all__ = [
    "AccountsSettings",
    "BrokerSettings",
    "ConfigSource",
    "EngineSettings",
    "GatewaySettings",
    "LogSettings",
    "MeteringSettings",
    "ModelSettings",
    "ObjectSettings",
    "PriceSettings",
    "ProviderSettings",
    "RedisSettings",
    "RetentionSettings",
    "RouteSettings",
    "RoutingSettings",
    "SchedulerSettings",
    "Secret",
    "Settings",
    "SettingsError",
    "StorageSettings",
    "TargetSettings",
    "WorkerSettings",
    "load_settings",
    "served_names",
]
