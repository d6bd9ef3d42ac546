"""Application certificates: who is let into a channel, by its own certificate or its authorities, and what becomes of the others."""

import os
import signal
import stat

from cryptography.hazmat.primitives import hashes, serialization
from cryptography import x509

from common.certificates import DAY, Authority, Identity, der, key_of, now, subject, usage
from common.check import check, expect
from common.client import OWN, endpoints
from common.raw import Raw, chunk, string

# A foreign ApplicationUri is known only when CreateSession names it.
LATER = ("channel", "CreateSession")


async def trusted(s, identity, name):
    """The plant trusts this certificate by itself, and has seen that: a good one put there after it works."""
    plant = await s.plant()
    plant.put("trusted", name, identity.certificate)
    marker = Identity.self_signed(f"Marker of {name}", role="marker")
    plant.put("trusted", f"{name}-marker", marker.certificate)
    await s.admitted(plant, marker)
    plant.remove("trusted", f"{name}-marker")
    return plant


@check("certificates", "an unknown certificate gets no channel", "OPC 10000-4, 6.1.3")
async def untrusted(s):
    return await s.refused(await s.plant(), Identity.self_signed("Untrusted", role="untrusted"))


@check("certificates", "what it is told is BadSecurityChecksFailed or BadCertificateUntrusted", "OPC 10000-4, 6.1.3")
async def untrusted_status(s):
    said = await s.refused(await s.plant(), Identity.self_signed("Untrusted too", role="untrusted"))
    expect("BadSecurityChecksFailed" in said or "BadCertificateUntrusted" in said, said)


@check("certificates", "a refused certificate is kept, works once it is MOVED to the trusted ones, without a restart, and no longer when it is removed", "OPC 10000-12, 7.8.2")
async def moved_to_trusted(s):
    plant, one = await s.plant(), Identity.self_signed("Moved", role="moved")
    await s.refused(plant, one)
    file = plant.trust_rejected(one.certificate)
    expect(file, "it is not in", plant.pki / "rejected")
    await s.admitted(plant, one)
    file.unlink()
    await s.refused(plant, one)


@check("certificates", "a certificate COPIED to the trusted ones works, though it is among the rejected", "OPC 10000-12, 7.8.2")
async def copied_to_trusted(s):
    plant, one = await s.plant(), Identity.self_signed("Copied", role="copied")
    await s.refused(plant, one)
    plant.put("trusted", "copied", one.certificate)
    await s.admitted(plant, one)
    plant.remove("trusted", "copied")


@check("certificates", "a trusted certificate may be in PEM form and have any name", "README: OPC UA")
async def pem_is_trusted(s):
    plant, one = await s.plant(), Identity.self_signed("Pem", role="pem")
    text = x509.load_der_x509_certificate(one.certificate).public_bytes(serialization.Encoding.PEM)
    file = plant.folders("trusted")[0] / "any name.pem"
    file.write_bytes(text)
    await s.admitted(plant, one)
    file.unlink()


@check("certificates", "an expired certificate is refused, also when it is trusted", "OPC 10000-4, 6.1.3")
async def expired(s):
    one = Identity.self_signed("Expired", role="expired", start=-20 * DAY, days=10)
    return await s.refused(await trusted(s, one, "expired"), one)


@check("certificates", "a certificate of the future is refused, also when it is trusted", "OPC 10000-4, 6.1.3")
async def future(s):
    one = Identity.self_signed("Future", role="future", start=10 * DAY)
    return await s.refused(await trusted(s, one, "future"), one)


@check("certificates", "a key of 1024 bits is refused, also when it is trusted", "OPC 10000-7, 6.6.165")
async def short_key(s):
    one = Identity.self_signed("Short", role="short", bits=1024)
    return await s.refused(await trusted(s, one, "short"), one)


@check("certificates", "a certificate without the ApplicationUri of its application is refused", "OPC 10000-4, 5.7.2.3")
async def foreign_uri(s):
    one = Identity.self_signed("Foreign", uri="urn:canvoy:test:foreign", role="foreign")
    plant = await trusted(s, one, "foreign")
    await s.admitted(plant, one)
    return await s.refused(plant, one.but(uri="urn:somebody:else"), LATER)


@check("certificates", "a trusted certificate with another private key gets no channel", "OPC 10000-6, 6.7.4")
async def wrong_key(s):
    one = Identity.self_signed("Key", role="key")
    plant = await trusted(s, one, "key")
    await s.admitted(plant, one)
    return await s.refused(plant, one.but(key=key_of("another key")))


@check("certificates", "a certificate that only has a trusted one's name is refused", "OPC 10000-4, 6.1.3")
async def same_name(s):
    one = Identity.self_signed("Name", role="name")
    plant = await trusted(s, one, "name")
    await s.admitted(plant, one)
    return await s.refused(plant, Identity.self_signed("Name", role="false name"))


@check("certificates", "bytes that are no certificate are refused, and the next client is served", "OPC 10000-4, 6.1.3")
async def no_certificate(s):
    plant = await s.plant()
    policy = "http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256"
    for blob in (b"", b"\x30", bytes(2000), OWN.certificate[:-20], b"\x30\x84\xff\xff\xff\xff" + bytes(50), OWN.certificate * 50):
        with Raw(plant.url) as raw:
            raw.hello()
            raw.send(chunk(b"OPN", bytes(4) + string(policy) + string(blob) + string(bytes(20)) + bytes(512)))
            state, kinds = raw.end(5)
            expect("OPN" not in kinds and (state == "closed" or kinds == ["ERR"]), len(blob), state, kinds)
    await s.admitted(plant, OWN)


class Chain:
    """root -> intermediate -> leaf, in a plant of which `put` says what it knows."""

    def __init__(self, name, **root):
        self.root = Authority(f"Root {name}", **root)
        self.middle = Authority(f"Intermediate {name}", self.root)
        self.name = name

    def leaf(self, send_chain=False, **options):
        return self.middle.issue(f"Leaf {self.name}", role=f"leaf {self.name}", send_chain=send_chain, **options)

    def put(self, plant, root=None, middle=None, crls=True, revoked=(), middle_revoked=False):
        """`root` and `middle`: "trusted", "issuers" or None; a CRL of each where its certificate is."""
        for kind, one, name, gone in ((root, self.root, "root", [self.middle.der] if middle_revoked else []), (middle, self.middle, "middle", revoked)):
            if kind:
                plant.put(kind, f"{self.name}-{name}", one.der)
            if crls:
                plant.put_crl(kind or "issuers", f"{self.name}-{name}", one.crl(*gone))

    def remove(self, plant):
        for kind in ("trusted", "issuers"):
            for name in ("root", "middle", "leaf"):
                plant.remove(kind, f"{self.name}-{name}")


async def seen(s, plant):
    """The plant has seen what was put there before."""
    marker = Identity.self_signed("Marker of a chain", role="marker")
    plant.put("trusted", "chain-marker", marker.certificate)
    await s.admitted(plant, marker)
    plant.remove("trusted", "chain-marker")


async def with_chain(s, chain, leaf, allowed, trust_leaf=False, **put):
    """Puts the chain there, and sees whether the leaf is let in."""
    plant = await s.plant()
    chain.put(plant, **put)
    if trust_leaf:
        plant.put("trusted", f"{chain.name}-leaf", leaf.certificate)
    try:
        if allowed:
            await s.admitted(plant, leaf)
            return None
        await seen(s, plant)
        return await s.refused(plant, leaf)
    finally:
        chain.remove(plant)


@check("chains", "a leaf whose root is trusted and whose intermediate is an issuer is let in", "OPC 10000-4, 6.1.3")
async def root_trusted(s):
    chain = Chain("a")
    return await with_chain(s, chain, chain.leaf(), True, root="trusted", middle="issuers")


@check("chains", "a leaf whose intermediate is trusted and whose root is an issuer is let in", "OPC 10000-4, 6.1.3")
async def intermediate_trusted(s):
    chain = Chain("b")
    return await with_chain(s, chain, chain.leaf(), True, root="issuers", middle="trusted")


@check("chains", "a trusted leaf with its authorities among the issuers is let in", "OPC 10000-4, 6.1.3")
async def leaf_trusted(s):
    chain = Chain("c")
    return await with_chain(s, chain, chain.leaf(), True, trust_leaf=True, root="issuers", middle="issuers")


@check("chains", "a client that sends its whole chain is let in when the root is trusted", "OPC 10000-6, 6.7.2.3")
async def chain_is_sent(s):
    chain = Chain("d")
    return await with_chain(s, chain, chain.leaf(send_chain=True), True, root="trusted")


@check("chains", "authorities that are issuers only do not make a leaf trusted", "OPC 10000-4, 6.1.3")
async def issuers_only(s):
    chain = Chain("e")
    return await with_chain(s, chain, chain.leaf(), False, root="issuers", middle="issuers")


@check("chains", "a chain that is sent is not trusted for being sent", "OPC 10000-4, 6.1.3")
async def sent_only(s):
    chain = Chain("f")
    return await with_chain(s, chain, chain.leaf(send_chain=True), False, crls=False)


@check("chains", "a trusted leaf without its authorities is refused: chain incomplete", "OPC 10000-4, 6.1.3")
async def chain_incomplete(s):
    chain = Chain("g")
    return await with_chain(s, chain, chain.leaf(), False, trust_leaf=True, crls=False)


@check("chains", "a revoked leaf is refused, its sister is let in", "OPC 10000-4, 6.1.3")
async def revoked(s):
    chain = Chain("h")
    leaf, sister = chain.leaf(), chain.middle.issue("Sister", role="sister", send_chain=False)
    plant = await s.plant()
    chain.put(plant, root="trusted", middle="issuers", revoked=[leaf.certificate])
    try:
        await s.admitted(plant, sister)
        return await s.refused(plant, leaf)
    finally:
        chain.remove(plant)


@check("chains", "a revoked leaf is refused also when it is itself among the trusted", "OPC 10000-4, 6.1.3")
async def revoked_and_trusted(s):
    chain = Chain("i")
    leaf = chain.leaf()
    return await with_chain(s, chain, leaf, False, trust_leaf=True, root="trusted", middle="issuers", revoked=[leaf.certificate])


@check("chains", "a revocation is seen without a restart", "OPC 10000-12, 7.8.2")
async def revoked_later(s):
    chain, plant = Chain("j"), await s.plant()
    leaf = chain.leaf()
    chain.put(plant, root="trusted", middle="issuers")
    try:
        await s.admitted(plant, leaf)
        chain.put(plant, root="trusted", middle="issuers", revoked=[leaf.certificate])
        return await s.refused(plant, leaf)
    finally:
        chain.remove(plant)


@check("chains", "a leaf of a revoked intermediate is refused", "OPC 10000-4, 6.1.3")
async def intermediate_revoked(s):
    chain = Chain("k")
    return await with_chain(s, chain, chain.leaf(), False, root="trusted", middle="issuers", middle_revoked=True)


@check("chains", "without the authorities' revocation lists a leaf is refused: revocation unknown", "OPC 10000-4, 6.1.3")
async def no_crl(s):
    chain = Chain("l")
    return await with_chain(s, chain, chain.leaf(), False, root="trusted", middle="issuers", crls=False)


@check("chains", "a leaf of an expired authority is refused", "OPC 10000-4, 6.1.3")
async def expired_authority(s):
    chain = Chain("m", start=-100 * DAY, days=50)
    return await with_chain(s, chain, chain.leaf(), False, root="trusted", middle="issuers")


@check("chains", "an expired leaf of a trusted authority is refused", "OPC 10000-4, 6.1.3")
async def expired_leaf(s):
    chain = Chain("n")
    return await with_chain(s, chain, chain.leaf(start=-20 * DAY, days=10), False, root="trusted", middle="issuers")


@check("chains", "a certificate that says to be of a trusted authority but is not signed by it is refused", "OPC 10000-4, 6.1.3")
async def forged_issuer(s):
    chain, plant = Chain("o"), await s.plant()
    false = Authority("Root o")
    false.key = key_of("false root")
    leaf = false.issue("Forged", role="forged", send_chain=False)
    return await with_chain(s, chain, leaf, False, root="trusted", middle="issuers")


@check("chains", "what an ordinary trusted certificate has signed is refused: it is no authority", "OPC 10000-4, 6.1.3")
async def signed_by_a_leaf(s):
    signer = Identity.self_signed("Signer", role="signer")
    plant = await trusted(s, signer, "signer")
    key = key_of("signed by a leaf")
    built = x509.CertificateBuilder().subject_name(subject("Signed by a leaf")).issuer_name(subject("Signer")).public_key(key.public_key())
    built = built.serial_number(x509.random_serial_number()).not_valid_before(now() - DAY).not_valid_after(now() + DAY)
    built = built.add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(OWN.uri), x509.DNSName("localhost")]), False)
    bits = usage(digital_signature=True, content_commitment=True, key_encipherment=True, data_encipherment=True)
    leaf = Identity(der(built.add_extension(bits, True).sign(signer.key, hashes.SHA256())), key, OWN.uri, [signer.certificate])
    said = await s.refused(plant, leaf)
    plant.remove("trusted", "signer")
    return said


@check("certificates", "the store of refused certificates is bounded", "issue: rejected with a cap")
async def rejected_store_is_bounded(s):
    plant = await s.plant()
    tried = 60
    for number in range(tried):
        await s.attempt(plant, Identity.self_signed(f"Number {number}", role="number"))
    count = len(plant.rejected())
    expect(count < tried, count, "files after", tried, "unknown certificates")
    return f"{count} files after {tried} unknown certificates"


@check("certificates", "who was refused often is still refused, and the usual client let in", "OPC 10000-4, 6.1.3")
async def served_after_refusals(s):
    await s.admitted(await s.plant(), OWN)


@check("certificates", "the private key is for its owner alone, and in a form that OpenSSL reads", "OPC 10000-2, 8")
async def private_key(s):
    plant = await s.plant()
    files = [file for file in (plant.pki / "own").rglob("*") if file.is_file() and b"PRIVATE KEY" in file.read_bytes()]
    expect(files, "no private key below", plant.pki / "own")
    for file in files:
        mode = stat.S_IMODE(file.stat().st_mode)
        expect(mode & 0o077 == 0 and b"\r" not in file.read_bytes(), file.name, oct(mode))
        serialization.load_pem_private_key(file.read_bytes(), None)
    expect(stat.S_IMODE(plant.pki.stat().st_mode) & 0o022 == 0, oct(plant.pki.stat().st_mode))


@check("certificates", "the server's certificate stays over a restart", "OPC 10000-4, 7.14")
async def own_certificate_stays(s):
    plant = await s.plant()
    before = {bytes(one.ServerCertificate) for one in await endpoints(plant.url) if one.ServerCertificate}
    killed = plant.part("plant")
    os.kill(killed, signal.SIGKILL)
    plant.wait("another plant process", lambda: plant.part("plant") not in (None, killed) and plant.serves())
    after = {bytes(one.ServerCertificate) for one in await endpoints(plant.url) if one.ServerCertificate}
    expect(before == after, "another certificate")
    await s.admitted(plant, OWN)
