"""Keys and certificates of a control plane, made by `openssl`: one authority, the servers, and a client for each user."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.cluster.kubeconfig import CLUSTER_IP

DAYS = "30"
NAMES = (
    "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,"
    f"DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:{CLUSTER_IP}"
)


class Authority:
    """A certificate authority in a folder; what it made before is kept."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.certificate = root / "ca.crt"
        self._key = root / "ca.key"
        self.server_certificate, self.server_key = root / "server.crt", root / "server.key"
        self.service_account_key = root / "service-account.key"

    def prepare(self) -> None:
        """Make the authority, the certificate of the servers and the key that signs tokens of service accounts."""
        self.root.mkdir(parents=True, exist_ok=True)
        if self.service_account_key.exists():
            return
        self._new_key(self._key)
        self._openssl(
            "req",
            "-x509",
            "-new",
            "-key",
            str(self._key),
            "-subj",
            "/CN=taskmill-test-ca",
            "-days",
            DAYS,
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
            "-out",
            str(self.certificate),
        )
        usage = f"subjectAltName={NAMES}\nextendedKeyUsage=serverAuth"
        self._issue(self.server_key, self.server_certificate, "/CN=kube-apiserver", usage)
        self._new_key(self.service_account_key)

    def client(self, user: str, groups: tuple[str, ...]) -> tuple[Path, Path]:
        """Return certificate and key of a user; Kubernetes reads the name from CN and the groups from O."""
        stem = "client-" + "-".join([user, *groups]).replace(":", "_").replace("/", "_")
        key, certificate = self.root / f"{stem}.key", self.root / f"{stem}.crt"
        if not certificate.exists():
            subject = "".join(f"/O={group}" for group in groups) + f"/CN={user}"
            self._issue(key, certificate, subject, "extendedKeyUsage=clientAuth")
        return certificate, key

    def _issue(self, key: Path, certificate: Path, subject: str, extensions: str) -> None:
        self._new_key(key)
        request, extension_file = key.with_suffix(".csr"), key.with_suffix(".ext")
        extension_file.write_text(f"{extensions}\nkeyUsage=critical,digitalSignature\n")
        self._openssl("req", "-new", "-key", str(key), "-subj", subject, "-out", str(request))
        self._openssl(
            "x509",
            "-req",
            "-in",
            str(request),
            "-CA",
            str(self.certificate),
            "-CAkey",
            str(self._key),
            "-CAcreateserial",
            "-days",
            DAYS,
            "-extfile",
            str(extension_file),
            "-out",
            str(certificate),
        )

    def _new_key(self, path: Path) -> None:
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(path))

    @staticmethod
    def _openssl(*arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"openssl {arguments[0]}: {done.stderr.strip()}")
