"""`python -m stargate`: the same as the `stargate` command."""

from stargate.cli.main import main

if __name__ == "__main__":
    main()
