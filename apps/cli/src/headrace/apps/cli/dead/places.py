"""Finds dead letters in the queues that the options name."""

from collections.abc import Sequence

from msgspec import Struct

from headrace.apps.cli.dead.options import DeadOptions
from headrace.apps.cli.environment import read_environment
from headrace.process.config import read_settings
from headrace.schema.names import LANES, Lane, task_queue_name
from headrace.schema.settings import Settings, SettingsError
from headrace.transport.rabbitmq import DeadLetterBox, DeadTaskFound


class Place(Struct, frozen=True):
    """A task queue, by what people call it."""

    model: str
    lane: Lane

    @property
    def queue_name(self) -> str:
        """Its name at the broker."""
        return task_queue_name(self.model, self.lane)


class DeadLetters:
    """The dead letters that the options name.

    Args:
        options: which.

    Raises:
        SettingsError: the settings can't be used, or know no broker that keeps dead letters.
    """

    def __init__(self, options: DeadOptions) -> None:
        self.settings: Settings = read_settings(config=options.config, environ=read_environment())
        url = self.settings.broker.url
        if not url.startswith(("amqp://", "amqps://")):
            raise SettingsError(
                [f"broker.url: {url} keeps no dead letters for others to see: set it to the amqp://… of the workers"]
            )
        try:
            self.box = DeadLetterBox(self.settings.broker)
        except ValueError as error:
            raise SettingsError([str(error)]) from None
        models: Sequence[str] = list(self.settings.models) if options.model is None else [options.model]
        lanes = LANES if options.lane is None else (options.lane,)
        self.places = [Place(model, lane) for model in models for lane in lanes]

    def all(self) -> list[tuple[Place, DeadTaskFound]]:
        """Return all of them; those of a queue from the oldest on.

        Raises:
            TransportUnavailableError: the broker can't be reached.
        """
        return [(place, found) for place in self.places for found in self.box.browse(place.queue_name)]

    def named(self, task_id: str) -> list[tuple[Place, DeadTaskFound]]:
        """Return those with this id; there is more than one only where queues share it.

        Raises:
            TransportUnavailableError: the broker can't be reached.
        """
        return [(place, found) for place, found in self.all() if found.id == task_id]
