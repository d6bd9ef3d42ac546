"""By what somebody has a role: a name, a certificate, an application."""

from asyncua import ua

from common import plant as plants
from common.check import check, expect
from common.client import Connection, status_of

from .scene import PASSWORD, PERSON, SCADA, node, number

O = ua.ObjectIds
DENIED = "BadUserAccessDenied"


async def may(plant, user=None, password=None, person=None, **options):
    """Whether somebody may write, enable an alarm's like (what an Engineer may) and read the RoleSet; or why not let in."""
    async with await Connection(plant.url, **options).channel() as one:
        await one.create()
        keys = {"certificate": person.certificate, "key": person.key} if person else {}
        said = await status_of(one.activate(user, password, **keys))
        if said != "Good":
            return said
        one.space = (await one.value(number(O.Server_NamespaceArray))).index(plants.NAMESPACE)
        own = await one.value(node(one, plants.ANALOG), ua.AttributeIds.UserRolePermissions)
        return sorted(each.RoleId.Identifier for each in own)


@check("shown", "a name, a certificate with its thumbprint and common name, and an application have the roles that are configured", "OPC 10000-18, 4.4.3")
async def identities(s):
    plant = await s.plant("shown")
    both = sorted([O.WellKnownRole_Engineer, O.WellKnownRole_SecurityAdmin])
    for what, said, want in (
        ("a name", await may(plant, "olga", PASSWORD), [O.WellKnownRole_Operator]),
        ("a name without a role", await may(plant, plants.SECOND_USER, plants.SECOND_PASSWORD), [O.WellKnownRole_AuthenticatedUser]),
        ("a certificate", await may(plant, person=PERSON), both),
        ("an application alone", await may(plant, identity=SCADA), [O.WellKnownRole_Operator]),
        ("an application with a user", await may(plant, plants.SECOND_USER, plants.SECOND_PASSWORD, identity=SCADA), [O.WellKnownRole_Operator]),
    ):
        expect(said == want, what, said, want)


@check("shown", "without anonymous_read an application without a role is not let in without a name", "OPC 10000-4, 5.7.3.3")
async def application_unknown(s):
    said = await may(await s.plant("shown"))
    expect(said in (DENIED, "BadIdentityTokenRejected", "BadIdentityTokenInvalid"), said)
