"""`python -m taskmill.cli`: the same as `taskmill`."""

from taskmill.cli.main import main

main()
