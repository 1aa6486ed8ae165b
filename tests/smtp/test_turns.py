"""Large messages take turns."""

from __future__ import annotations

import asyncio
from functools import partial

from mailstead.smtp.turns import AT_ONCE, Turns
from tests.smtp.harness import MESSAGE, Face
from tests.smtp.test_large import poured


async def test_first_come_first_served_and_few_at_once() -> None:
    turns, served = Turns(), []
    for number in range(3 * AT_ONCE + 1):
        turns.next(partial(served.append, number))
    assert served == []
    for done in (1, 2, 3):
        await asyncio.sleep(0)
        assert served == list(range(done * AT_ONCE))
    await asyncio.wait_for(turns.turn(), 60)
    assert served == list(range(3 * AT_ONCE + 1))


async def test_small_messages_pass_large_ones(face: Face) -> None:
    """While 20 large messages pour in, small ones are answered again and again."""
    await face.set("maxDataSize", "0")
    client = await face.ready()
    pouring = asyncio.create_task(poured(face, 20, 40))
    small = 0
    while not pouring.done():
        assert (await client.send(MESSAGE)).startswith("250")
        small += 1
    assert await pouring == ["250"] * 20
    assert small >= 5
    assert len(await face.messages()) == small
