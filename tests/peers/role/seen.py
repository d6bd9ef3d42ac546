"""What the attributes tell of rights is what happens."""

from asyncua import ua

from common import plant as plants
from common.check import check, expect

from .scene import USERS, node, number

A, O = ua.AttributeIds, ua.ObjectIds
WELL_KNOWN = {
    "Anonymous": O.WellKnownRole_Anonymous,
    "AuthenticatedUser": O.WellKnownRole_AuthenticatedUser,
    "Observer": O.WellKnownRole_Observer,
    "Operator": O.WellKnownRole_Operator,
    "Engineer": O.WellKnownRole_Engineer,
    "SecurityAdmin": O.WellKnownRole_SecurityAdmin,
}
READ, WRITE, HISTORY = 1, 2, 4
BROWSE_BIT, READ_BIT, WRITE_BIT, HISTORY_BIT = 1 << 0, 1 << 5, 1 << 6, 1 << 7


@check("seen", "UserAccessLevel has Write where a write is let through, and HistoryRead where history is", "OPC 10000-3, 5.6.2")
async def user_access_level(s):
    wrong = []
    writers = {plants.SETPOINT: {"Operator", "Engineer"}, plants.LEVEL: {"Engineer"}, plants.ARMED: {"Operator", "Engineer"}, plants.ANALOG: set()}
    for role in USERS:
        async with await s.session(role) as one:
            for text, may in writers.items():
                level, own = [(await one.value(node(one, text), attribute)) for attribute in (A.AccessLevel, A.UserAccessLevel)]
                want = level & ~WRITE | (WRITE if role in may else 0)
                want &= ~HISTORY if role == "SecurityAdmin" else 0xFF
                wrong += [f"{role} {text}: {own}, not {want}"] if own != want else []
    expect(not wrong, "; ".join(wrong))


@check("seen", "UserRolePermissions has the user's own roles, and their bits are those of UserAccessLevel", "OPC 10000-3, 5.2.10")
async def user_role_permissions(s):
    wrong = []
    for role in USERS:
        async with await s.session(role) as one:
            for text in (plants.SETPOINT, plants.LEVEL, plants.ANALOG):
                found = await one.value(node(one, text), A.UserRolePermissions)
                level = await one.value(node(one, text), A.UserAccessLevel)
                roles = [each.RoleId.Identifier for each in found]
                bits = 0
                for each in found:
                    bits |= int(each.Permissions)
                for bit, of in ((READ_BIT, READ), (WRITE_BIT, WRITE), (HISTORY_BIT, HISTORY)):
                    if bool(bits & bit) != bool(level & of):
                        wrong.append(f"{role} {text}: permissions {bits:#x}, level {level}")
                if roles != [WELL_KNOWN[role]] or not bits & BROWSE_BIT:
                    wrong.append(f"{role} {text}: {found}")
    expect(not wrong, "; ".join(wrong))


@check("seen", "RolePermissions tell a SecurityAdmin of every role: who writes what it is narrowed to", "OPC 10000-3, 5.2.9")
async def role_permissions(s):
    async with await s.session("SecurityAdmin") as one:
        writers = {}
        for text in (plants.SETPOINT, plants.LEVEL):
            found = await one.value(node(one, text), A.RolePermissions)
            expect({each.RoleId.Identifier for each in found} == set(WELL_KNOWN.values()), found)
            writers[text] = {role for role, of in WELL_KNOWN.items() for each in found if each.RoleId.Identifier == of and int(each.Permissions) & WRITE_BIT}
        expect(writers == {plants.SETPOINT: {"Operator", "Engineer"}, plants.LEVEL: {"Engineer"}}, writers)


@check("seen", "the RoleSet has the roles, and their identities are those of the configuration", "OPC 10000-18, 4.3")
async def role_set(s):
    async with await s.session("SecurityAdmin") as one:
        found = await one.references(number(O.Server_ServerCapabilities_RoleSet))
        named = {reference.NodeId.Identifier for reference in found}
        expect(set(WELL_KNOWN.values()) <= named, sorted(named))
        rules = await one.value(number(O.WellKnownRole_Operator_Identities))
        said = [(int(rule.CriteriaType), rule.Criteria) for rule in rules]
        expect(said == [(int(ua.IdentityCriteriaType.UserName), "shift-*")], said)
        expect(await one.value(number(O.WellKnownRole_Observer_Identities)), "the Observer has a user")


@check("seen", "UserExecutable is true where a call is let through", "OPC 10000-3, 5.7")
async def user_executable(s):
    wrong = []
    callers = {
        "Canvoy.Methods.m.Command.Send": {"Operator", "Engineer"},
        "Canvoy.Methods.m.Cycle.Send": {"Engineer"},
        "Canvoy.Methods.m.Command.Fallback": {"Engineer"},
        "Canvoy.Methods.m.Command.ResetFallback": {"Engineer"},
        "Canvoy.Methods.Machine.Arm": {"Operator", "Engineer"},
        "Canvoy.Methods.Machine.Fallback": {"Engineer"},
        "Canvoy.Methods.Machine.Force": {"Engineer"},
        "Canvoy.Methods.Machine.ReleaseAll": {"Engineer"},
    }
    for role in USERS:
        async with await s.session(role) as one:
            for text, may in callers.items():
                said = await one.value(node(one, text), A.UserExecutable)
                wrong += [f"{role} {text}: {said}"] if said != (role in may) else []
    expect(not wrong, "; ".join(wrong))
