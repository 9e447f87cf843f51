"""``[tracking]``: an experiment tracker that is told the metrics too."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from jcnn.fields import Flag, Table


class Tracking(Table):
    """``[tracking]``: a tracker, which must be installed; the run's own files are written anyway.

    Attributes:
        to: Which one.
        project: The name that the tracker keeps the runs under; "jcnn" where not given.
        online: Whether it may send anything over the network; it keeps files here otherwise.
    """

    to: Literal["trackio", "mlflow", "wandb"]
    project: Annotated[str, Field(min_length=1)] = "jcnn"
    online: Flag = False
