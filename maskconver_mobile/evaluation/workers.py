"""A map over processes that leaves no process behind."""

import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from typing import Any, TypeVar, cast

from maskconver_mobile.errors import MaskConverError

Item = TypeVar("Item")
Result = TypeVar("Result")


def process_map(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Generator[Result, None, None]:
    """Yield `function(item)` of each item, in order.

    With more than one worker, spawned processes share the items; `function` travels to each of them once, so
    what it caches stays. Close the generator (`contextlib.closing`) to stop early: that returns when its
    processes are gone.

    Raises:
        MaskConverError: a worker process died.
        Exception: whatever `function` raises.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        yield from map(function, items)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start, initargs=(function,))
    try:
        with _interrupts_ignored():
            futures = [pool.submit(_call, item) for item in items]
        for future in futures:
            yield cast(Result, future.result())
    except BrokenProcessPool as error:
        raise MaskConverError("a worker process died, perhaps for want of memory; use fewer workers") from error
    finally:
        pool.shutdown(cancel_futures=True)


_function: Callable[[Any], Any]


def _start(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _call(item: object) -> object:
    return _function(item)


def _die_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


@contextmanager
def _interrupts_ignored() -> Generator[None, None, None]:
    # Processes started here inherit it: Ctrl-C reaches the parent alone, which then ends them.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
