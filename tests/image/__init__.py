"""The image of the Dockerfile on a Docker engine of its own: its size and every role. `make test/image` runs what is here."""
