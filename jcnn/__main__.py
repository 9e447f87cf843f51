"""The command ``jcnn``; also ``python -m jcnn``."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

_EXTRA = ("typer", "rich")


def main() -> int:
    """Run the command line, or say what to install for it."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)  # while a second goes by with imports
    try:
        from jcnn.cli import main as run
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        print(
            f"jcnn: the command line needs the package '{error.name}', which the extra "
            "'experiments' brings: pip install 'jcnn[experiments]'",
            file=sys.stderr,
        )
        return 2
    finally:
        signal.signal(signal.SIGINT, before)
    return run()


def _stop(number: int, _: object) -> NoReturn:
    os.write(2, b"stopped\n")
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
