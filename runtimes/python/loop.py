"""The one asyncio loop of a process: it stands still between calls and is kept from one to the next."""

loop = None


def start_loop():
    global loop
    if loop is None or loop.is_closed():
        import asyncio

        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
    return loop


async def wait_for(awaitable):
    return await awaitable


def run(awaitable):
    """Runs it to its end and returns its value. What else the user's code started goes on meanwhile."""
    running = start_loop()
    if not hasattr(awaitable, "cr_code"):
        awaitable = wait_for(awaitable)
    return running.run_until_complete(awaitable)
