"""A streaming standby of an embedded PostgreSQL: what a second node of production is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from taskmill.dev import passwords
from taskmill.dev.postgres import READY_LINE, PostgresServer, packaged_binaries
from tests.support.databases import execute, in_thread


class Standby(PostgresServer):
    """Copies `primary` at its first start and follows it until `promote`; it has the same password."""

    def __init__(self, root: Path, primary: PostgresServer) -> None:
        super().__init__(root, settings=primary.settings)
        self._primary = primary

    def _create(self) -> None:
        fresh = self.root / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if self.account is not None:
            os.chown(fresh, self.account.uid, self.account.gid)
        copy = ["--pgdata", str(fresh), "--dbname", self._primary.url, "--checkpoint=fast", "--wal-method=stream"]
        self._run([str(self._bin / "pg_basebackup"), *copy, "--write-recovery-conf"])
        password = passwords.read(self._primary.root)
        assert password is not None
        passwords.write(self.root, password)
        fresh.rename(self.home)

    def _is_ready(self) -> bool:
        try:
            lines = (self.home / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return lines[:1] == [str(self.pid)] and bool({line.strip() for line in lines[READY_LINE:]} & {"standby", "ready"})

    def promote(self) -> None:
        """Make it the primary, and return when it takes writes."""
        in_thread(execute(self.url, "select pg_promote(true, 60)"))


def can_stand_by() -> bool:
    """Say whether the embedded binaries can copy a server; some builds have nothing but the server."""
    return (packaged_binaries() / "pg_basebackup").exists()


def both(primary: PostgresServer, standby: Standby) -> str:
    """Return the URL that leads to whichever of the two takes writes."""
    parts = urlsplit(primary.url)
    netloc = f"{parts.netloc},{urlsplit(standby.url).hostname}:{standby.port}"
    return urlunsplit(parts._replace(netloc=netloc, query="target_session_attrs=read-write"))
