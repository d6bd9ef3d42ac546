"""Keys and certificates made for a check: self-signed, from a chain of authorities, expired, too short, revoked."""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

URI = "urn:canvoy:test:asyncua"
DAY = datetime.timedelta(days=1)
# RSA keys are slow to make and what a check tries is never the key: one of each size and role is used again.
KEYS = {}


def key_of(role, bits=2048):
    if (role, bits) not in KEYS:
        KEYS[role, bits] = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return KEYS[role, bits]


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def subject(common_name):
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Canvoy checks"), x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


class Identity:
    """A certificate in DER, its private key, and the authorities that are sent with it."""

    def __init__(self, certificate, key, uri=URI, chain=()):
        self.certificate, self.key, self.uri, self.chain = certificate, key, uri, list(chain)

    def but(self, **changes):
        """The same with other fields."""
        other = Identity(self.certificate, self.key, self.uri, self.chain)
        other.__dict__.update(changes)
        return other

    @staticmethod
    def self_signed(common_name="Canvoy check", uri=URI, bits=2048, role="own", start=-DAY, days=30, host="localhost", digest=None):
        """An application instance certificate as OPC 10000-6, 6.2.2 has it."""
        key = key_of(role, bits)
        built = application(common_name, uri, host, key.public_key(), start, days).issuer_name(subject(common_name))
        built = built.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        return Identity(der(built.sign(key, digest or hashes.SHA256())), key, uri)

    @staticmethod
    def user(common_name, role="user", authority=None, start=-DAY, days=30):
        """A person's certificate: no application URI."""
        key = key_of(role)
        built = person(common_name, key.public_key(), start, days)
        if authority is None:
            return Identity(der(built.issuer_name(subject(common_name)).sign(key, hashes.SHA256())), key, None)
        built = built.issuer_name(authority.certificate.subject)
        return Identity(der(built.sign(authority.key, hashes.SHA256())), key, None, authority.chain())


class Authority:
    """A certificate authority: the root, or below another."""

    def __init__(self, common_name, above=None, start=-2 * DAY, days=365):
        self.key, self.above = key_of(common_name), above
        issuer = above.certificate.subject if above else subject(common_name)
        built = base(common_name, self.key.public_key(), start, days).issuer_name(issuer)
        built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        built = built.add_extension(usage(key_cert_sign=True, crl_sign=True, digital_signature=True), True)
        signer = above.key if above else self.key
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        self.certificate = built.add_extension(identifier, False).sign(signer, hashes.SHA256())

    @property
    def der(self):
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def chain(self):
        """This authority and those above it, nearest first."""
        return [self.der, *(self.above.chain() if self.above else [])]

    def issue(self, common_name, uri=URI, role="own", bits=2048, start=-DAY, days=30, host="localhost", send_chain=True):
        key = key_of(role, bits)
        built = application(common_name, uri, host, key.public_key(), start, days).issuer_name(self.certificate.subject)
        built = built.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        built = built.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False)
        return Identity(der(built.sign(self.key, hashes.SHA256())), key, uri, self.chain() if send_chain else [])

    def crl(self, *revoked, start=-DAY, days=30):
        """A certificate revocation list with these certificates (DER), as DER."""
        built = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        built = built.last_update(now() + start).next_update(now() + start + days * DAY)
        for one in revoked:
            number = x509.load_der_x509_certificate(one).serial_number
            built = built.add_revoked_certificate(x509.RevokedCertificateBuilder().serial_number(number).revocation_date(now() - DAY / 2).build())
        built = built.add_extension(x509.CRLNumber(1), False)
        built = built.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False)
        return built.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def usage(**bits):
    names = [
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ]
    return x509.KeyUsage(**{one: bits.get(one, False) for one in names})


def base(common_name, public, start, days):
    built = x509.CertificateBuilder().subject_name(subject(common_name)).public_key(public).serial_number(x509.random_serial_number())
    built = built.not_valid_before(now() + start).not_valid_after(now() + start + days * DAY)
    return built.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)


def application(common_name, uri, host, public, start, days):
    names = [x509.UniformResourceIdentifier(uri), x509.DNSName(host), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    built = base(common_name, public, start, days).add_extension(x509.SubjectAlternativeName(names), False)
    bits = usage(digital_signature=True, content_commitment=True, key_encipherment=True, data_encipherment=True)
    return built.add_extension(bits, True).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)


def person(common_name, public, start, days):
    return base(common_name, public, start, days).add_extension(usage(digital_signature=True), True)


def der(certificate):
    return certificate.public_bytes(serialization.Encoding.DER)
