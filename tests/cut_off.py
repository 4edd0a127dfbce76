"""Runs that end in the middle, as if they were killed there."""

from collections.abc import Callable
from typing import Any

import pytest


def cut_off(run: Callable[[], Any], where: Any, name: str, passes: int) -> None:
    """Have a step end a run, once it has been through `passes` times."""
    real: Callable[..., Any] = getattr(where, name)
    left = [passes]

    def dies(*given: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(*given, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, name, dies)
        with pytest.raises(KeyboardInterrupt):
            run()
