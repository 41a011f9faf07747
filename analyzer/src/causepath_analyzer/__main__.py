"""``python -m causepath_analyzer`` is the ``causepath`` command."""

from causepath_analyzer.cli import main

if __name__ == "__main__":
    main()
