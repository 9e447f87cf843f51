"""The command ``jcnn``; also ``python -m jcnn``."""

from __future__ import annotations

import sys

from jcnn.departure import departure

_EXTRA = ("typer", "rich")


def main() -> int:
    """Run the command line, or say what to install for it."""
    departure.watch()  # before the imports, which take a second
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
    return run()


if __name__ == "__main__":
    sys.exit(main())
