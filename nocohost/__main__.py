"""``python -m nocohost`` is the ``nocohost`` command."""

from nocohost.cli.main import main

if __name__ == "__main__":
    main()
