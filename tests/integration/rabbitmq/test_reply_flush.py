"""A worker's last words have arrived before its task may be acknowledged: what lies in a socket has not."""

import asyncio

import msgspec
import pytest

from headrace.schema.events import SequenceDelta
from headrace.schema.settings import BrokerSettings
from headrace.transport.rabbitmq import RabbitmqSchedulerTransport, RabbitmqWorkerTransport
from tests.support.links import Link
from tests.support.recorders import ControlRecorder, ReplyRecorder
from tests.support.values import fresh_name

pytestmark = [pytest.mark.services, pytest.mark.timeout(60)]
# Long enough for a wait that ends before the broker has read.
HELD_SECONDS = 0.5


async def test_a_worker_waits_until_the_broker_has_everything(broker_settings: BrokerSettings) -> None:
    model = fresh_name("model")
    replies = ReplyRecorder()
    scheduler = RabbitmqSchedulerTransport(broker_settings, replica_id=fresh_name("r"), models=[model])
    with Link(broker_settings.url) as link:
        worker = RabbitmqWorkerTransport(msgspec.structs.replace(broker_settings, url=link.urls[0]))
        async with asyncio.timeout(20):
            await scheduler.start(replies)
            await scheduler.wait_ready()
            await worker.start(ControlRecorder(), worker_id=fresh_name("w"), models=[model])
            await worker.wait_ready()
            writer = worker.open_reply(scheduler.reply_address, request_id="r", attempt=1)
            writer.write([SequenceDelta(0, "first")])
            await worker.wait_read()
            async with asyncio.TaskGroup() as group:
                with link.being_cut():
                    writer.write([SequenceDelta(0, "last")])
                    flushing = group.create_task(worker.wait_read())
                    done, _ = await asyncio.wait({flushing}, timeout=HELD_SECONDS)
                    assert not done, "it has left this process, and has not arrived"
            await replies.until(lambda: len(replies.events_of("r")) == 2)
        await worker.close()
    await scheduler.close()
