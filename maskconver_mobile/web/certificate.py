"""A certificate that this machine signs itself, so that a phone may open an https address here."""

import datetime
import ipaddress
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path

from maskconver_mobile.errors import MaskConverError

LIFETIME = datetime.timedelta(days=30)


@dataclass(frozen=True)
class Certificate:
    """A certificate and its private key, which never outlive the process.

    Attributes:
        certificate: PEM.
        key: PEM.
        fingerprint: SHA-256 of the certificate, as browsers show it.
    """

    certificate: bytes
    key: bytes
    fingerprint: str

    def context(self) -> ssl.SSLContext:
        """What a server needs to speak https with it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:  # readable by this user alone; Python reads keys from files only
            path = Path(folder) / "both.pem"
            path.write_bytes(self.key + self.certificate)
            context.load_cert_chain(path)
        return context


def sign(address: str) -> Certificate:
    """Make a certificate for an IP address and for `localhost`.

    Raises:
        MaskConverError: cryptography is not installed.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    except ImportError as error:
        raise MaskConverError("--https needs cryptography; run `pip install 'maskconver-mobile[web]'`") from error
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"maskconver-mobile on {address}")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address)), x509.DNSName("localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = serialization.PrivateFormat.PKCS8
    return Certificate(
        certificate=certificate.public_bytes(serialization.Encoding.PEM),
        key=key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
    )
