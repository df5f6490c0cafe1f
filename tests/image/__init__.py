"""The image of the Dockerfile on a Docker engine of its own: every role, testcontainers. `make test/image` runs what is here."""
