"""What breaks: each fault does its harm, waits a while, and makes good again, so that there is always a way on."""

import random
import signal
import time
from collections.abc import Callable, Generator, Sequence

from tests.chaos.site import Site
from tests.support.rabbitmqctl import rabbitmqctl

MOST_DOWN_SECONDS = 1.5
# The broker notices within three heartbeats, the worker after some more, or when its link is mended.
LEAST_CUT_SECONDS, MOST_CUT_SECONDS = 6.5, 10.0
NO_MEMORY, MUCH_MEMORY = ("0",), ("absolute", "1GB")
KILL_CHANNELS = "[exit(Channel, kill) || Channel <- rabbit_channel:list()]"
# A channel asks for its patience when it is opened, so all are opened again, before and after.
IMPATIENT = """
{{ok, Patience}} = application:get_env(rabbit, consumer_timeout),
{{ok, Tick}} = application:get_env(rabbit, channel_tick_interval),
application:set_env(rabbit, consumer_timeout, 500), application:set_env(rabbit, channel_tick_interval, 200),
{kill}, timer:sleep({milliseconds}),
application:set_env(rabbit, consumer_timeout, Patience), application:set_env(rabbit, channel_tick_interval, Tick),
{kill}.
"""


def kill_worker(site: Site, dice: random.Random) -> None:
    """A worker is gone without a word, and another one comes."""
    worker = site.take_worker(dice)
    worker.child.kill()
    worker.child.wait()
    site.add_worker()


def replace_worker(site: Site, dice: random.Random) -> None:
    """A worker is asked to stop, as in a rollout, after its successor was started."""
    worker = site.take_worker(dice)
    site.add_worker()
    worker.child.send_signal(signal.SIGTERM)


def freeze_worker(site: Site, dice: random.Random) -> None:
    """A worker stands still for a while."""
    worker = site.pick_host(dice).worker
    worker.child.send_signal(signal.SIGSTOP)
    time.sleep(dice.uniform(0.2, MOST_DOWN_SECONDS))
    worker.child.send_signal(signal.SIGCONT)


def cut_off_host(site: Site, dice: random.Random) -> None:
    """A worker runs on and reaches nobody, until its heartbeats have failed; then it is back."""
    with site.pick_host(dice).link.being_cut():
        time.sleep(dice.uniform(LEAST_CUT_SECONDS, MOST_CUT_SECONDS))


def kill_gateway(site: Site, dice: random.Random) -> None:
    """A gateway is gone without a word, and is started again."""
    gateway = dice.choice(site.gateways)
    site.kill_gateway(gateway)
    time.sleep(dice.uniform(0.0, MOST_DOWN_SECONDS))
    site.restart_gateway(gateway)


def kill_broker(site: Site, dice: random.Random) -> None:
    """RabbitMQ crashes and is started again."""
    site.broker.kill()
    time.sleep(dice.uniform(0.0, MOST_DOWN_SECONDS))
    site.broker.start()


def kill_redis(site: Site, dice: random.Random) -> None:
    """Redis crashes and is started again."""
    site.kill_redis()
    time.sleep(dice.uniform(0.0, MOST_DOWN_SECONDS))
    site.restart_redis()


def alarm_broker(site: Site, dice: random.Random) -> None:
    """RabbitMQ has no memory left, and reads from no publisher, for a while."""
    rabbitmqctl(site.broker, "set_vm_memory_high_watermark", *NO_MEMORY)
    time.sleep(dice.uniform(0.0, MOST_DOWN_SECONDS))
    rabbitmqctl(site.broker, "set_vm_memory_high_watermark", *MUCH_MEMORY)


def close_connections(site: Site, dice: random.Random) -> None:
    """RabbitMQ closes every connection."""
    rabbitmqctl(site.broker, "close_all_connections", "chaos")


def close_channels(site: Site, dice: random.Random) -> None:
    """Every channel in RabbitMQ ends."""
    rabbitmqctl(site.broker, "eval", f"{KILL_CHANNELS}.")


def time_out_consumers(site: Site, dice: random.Random) -> None:
    """RabbitMQ closes channels whose deliveries are not acknowledged within half a second, for a while."""
    milliseconds = int(dice.uniform(1.5, 3.0) * 1000)
    rabbitmqctl(site.broker, "eval", IMPATIENT.format(kill=KILL_CHANNELS, milliseconds=milliseconds))


FAULTS: dict[str, Callable[[Site, random.Random], None]] = {
    "kill-worker": kill_worker,
    "freeze-worker": freeze_worker,
    "replace-worker": replace_worker,
    "cut-off-host": cut_off_host,
    "kill-gateway": kill_gateway,
    "kill-broker": kill_broker,
    "close-connections": close_connections,
    "close-channels": close_channels,
    "alarm-broker": alarm_broker,
    "consumer-timeout": time_out_consumers,
    "kill-redis": kill_redis,
}


def deal(names: Sequence[str], dice: random.Random) -> Generator[str]:
    """Yield faults for ever, in a random order in which none comes twice before each has come once."""
    while True:
        yield from dice.sample(names, len(names))
