"""`python -m runtime`: the command `banksman`, where its script is not on the path."""

from runtime.cli import main

if __name__ == "__main__":
    main()
