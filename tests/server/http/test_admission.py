"""The ends of running requests that overlap."""

from __future__ import annotations

import asyncio

import pytest

from promptkit.server.http.admission import Admission
from promptkit.server.http.errors import HttpError
from promptkit.server.http.options import HttpOptions


async def clean_up_slowly(admission: Admission, began: asyncio.Event, ends: asyncio.Event) -> None:
    async with admission.place():
        try:
            await asyncio.Event().wait()
        finally:
            began.set()
            await ends.wait()


@pytest.mark.parametrize("deadline", [0.01, 60.0])
async def test_a_request_that_is_cleaning_up_may_be_ended_again(deadline: float) -> None:
    admission = Admission(HttpOptions(grace=0.01, deadline=deadline))
    began, ends = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(clean_up_slowly(admission, began, ends))
    while not admission.running:
        await asyncio.sleep(0)
    if deadline > 1:
        admission.end()  # the second signal, before the grace is over
    await began.wait()
    draining = asyncio.create_task(admission.drain())
    await asyncio.wait([draining], timeout=0.05)
    ends.set()
    assert await draining == 1
    with pytest.raises(HttpError):
        await running
