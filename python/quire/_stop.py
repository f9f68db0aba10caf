"""Ending a run early, as a success."""

from typing import List


class QuireStop(BaseException):
    """Ends the run here. The engine knows it by its name.

    It is no Exception, so that ``except Exception`` in a notebook lets it pass.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason

    def _render_traceback_(self) -> List[str]:
        """What IPython shows: one line, for nothing went wrong."""
        return [f"The run ends here: {self.reason}" if self.reason else "The run ends here."]


def stop(reason: str = "") -> None:
    """End the run after this cell. The cells that follow stay unrun, and the run has succeeded.

    ``reason`` is shown and stored with the run.
    """
    raise QuireStop(str(reason))
