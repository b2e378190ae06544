"""The settings: what they are, what they mean, and how they are read without touching a file or the environment."""

from headrace.schema.settings.load import ConfigSource, SettingsError, load_settings
from headrace.schema.settings.model import (
    BrokerSettings,
    EngineSettings,
    GatewaySettings,
    LogSettings,
    ModelSettings,
    ObjectSettings,
    RedisSettings,
    SchedulerSettings,
    Secret,
    Settings,
    StorageSettings,
    WorkerSettings,
    served_names,
)

__all__ = [
    "BrokerSettings",
    "ConfigSource",
    "EngineSettings",
    "GatewaySettings",
    "LogSettings",
    "ModelSettings",
    "ObjectSettings",
    "RedisSettings",
    "SchedulerSettings",
    "Secret",
    "Settings",
    "SettingsError",
    "StorageSettings",
    "WorkerSettings",
    "load_settings",
    "served_names",
]
