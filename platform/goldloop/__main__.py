"""`python -m goldloop` is `goldloop`."""

from goldloop.cli import main

if __name__ == "__main__":
    main()
