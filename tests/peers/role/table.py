"""The table: a row a role, a column an operation. A column more is a line in OPERATIONS and one in GRANTED."""

import asyncio
import re

from asyncua import ua

from common import plant as plants
from common.check import check, expect

from .scene import HIDDEN, SERVER, USERS, call, history, node, number, status, translated, watched

O = ua.ObjectIds
ALARM = "Canvoy.Alarms.late:m.Late"
BYTES, TEXT = ua.VariantType.ByteString, ua.VariantType.LocalizedText
BOOLEAN, BYTE, DOUBLE = ua.VariantType.Boolean, ua.VariantType.Byte, ua.VariantType.Double
DENIED, UNKNOWN = "BadUserAccessDenied", "BadNodeIdUnknown"
EVENTS = ua.EventFilter(SelectClauses=[ua.SimpleAttributeOperand(TypeDefinitionId=number(O.BaseEventType), BrowsePath=[ua.QualifiedName("EventId", 0)], AttributeId=13)])


async def browsed(one):
    """Whether the hidden message is among what its bus and the devices of it have."""
    seen, open_nodes = set(), [node(one, "m")]
    while open_nodes:
        for reference in await one.references(open_nodes.pop(), ua.BrowseDirection.Forward, number(O.HierarchicalReferences)):
            text = str(reference.NodeId.Identifier)
            if text not in seen and reference.NodeId.NamespaceIndex == one.space:
                seen.add(text)
                open_nodes.append(ua.NodeId(reference.NodeId.Identifier, one.space))
    expect(plants.ANALOG in seen, "what is not hidden isn't there", sorted(seen)[:20])
    return "Good" if HIDDEN in seen else UNKNOWN


async def member(one, text):
    """A method or a variable of the alarm, by its path."""
    found = await one.path(node(one, ALARM), ua.QualifiedName(text, 0))
    found.StatusCode.check()
    return found.Targets[0].TargetId


async def called(one, method, *arguments):
    """Good where the role is let through: what the alarm says to it is another matter."""
    said = await call(one, node(one, ALARM), await member(one, method), *arguments)
    return said if said == DENIED else "Good"


async def armed(one):
    return await one.write(node(one, plants.ARMED), True, ua.VariantType.Boolean)


# Enable, Mode, Quick, Ramp, Setpoint, Trim.
COMMAND = [(False, BOOLEAN), (0, BYTE), (False, BOOLEAN), (10, BYTE), (100.0, DOUBLE), (0.0, DOUBLE)]
# A value and for how long, in milliseconds.
FORCED = [(1.0, DOUBLE), (1000.0, DOUBLE)]


async def sent(one, message, *arguments):
    """Good where the role is let through: what the machine says to it is another matter."""
    said = await call(one, node(one, message), node(one, f"Canvoy.Methods.{message}.Send"), *arguments)
    return said if said in (DENIED, UNKNOWN) else "Good"


async def machine(one, method, *arguments):
    said = await call(one, node(one, "Canvoy.Machine"), node(one, f"Canvoy.Methods.Machine.{method}"), *arguments)
    return said if said in (DENIED, UNKNOWN) else "Good"


# What is done, and how it is refused: as an operation that the user may not do, or as on a node that is not there.
OPERATIONS = {
    "browse": (lambda one: browsed(one), UNKNOWN),
    "path": (lambda one: translated(one, node(one, "m"), "Floats", "Single"), "BadNoMatch"),
    "read": (lambda one: status(one, node(one, plants.ANALOG)), DENIED),
    "read hidden": (lambda one: status(one, node(one, HIDDEN)), UNKNOWN),
    "attribute hidden": (lambda one: status(one, node(one, HIDDEN), ua.AttributeIds.DisplayName), UNKNOWN),
    "subscribe": (lambda one: watched(one, node(one, plants.ANALOG)), DENIED),
    "subscribe hidden": (lambda one: watched(one, node(one, HIDDEN)), UNKNOWN),
    "events": (lambda one: watched(one, SERVER, attribute=ua.AttributeIds.EventNotifier, filter=EVENTS), DENIED),
    "history": (lambda one: history(one, node(one, plants.BEAT)), DENIED),
    "history hidden": (lambda one: history(one, node(one, HIDDEN)), UNKNOWN),
    "write": (lambda one: one.write(node(one, plants.SETPOINT), 100.0, ua.VariantType.Double), DENIED),
    "write elsewhere": (lambda one: one.write(node(one, plants.LEVEL), 1, ua.VariantType.UInt16), DENIED),
    "write hidden": (lambda one: hidden_write(one), UNKNOWN),
    "arm": (armed, DENIED),
    "acknowledge": (lambda one: called(one, "Acknowledge", (b"x", BYTES), (ua.LocalizedText("seen"), TEXT)), DENIED),
    "enable alarm": (lambda one: called(one, "Enable"), DENIED),
    "send": (lambda one: sent(one, "m.Command", *COMMAND), DENIED),
    "send elsewhere": (lambda one: sent(one, "m.Cycle", (1, ua.VariantType.UInt16)), DENIED),
    "force": (lambda one: machine(one, "Force", (node(one, plants.ANALOG), ua.VariantType.NodeId), *FORCED), DENIED),
    "release all": (lambda one: machine(one, "ReleaseAll"), DENIED),
    "reset fallback": (lambda one: machine(one, "ResetFallback"), DENIED),
    "switch route": (lambda one: machine(one, "SwitchRoute", ("none", ua.VariantType.String), (True, ua.VariantType.Boolean)), DENIED),
    "restart bus": (lambda one: machine(one, "RestartBus", (node(one, "m"), ua.VariantType.NodeId)), DENIED),
    "arm by call": (lambda one: machine(one, "Arm"), DENIED),
    "diagnostics": (lambda one: status(one, number(O.Server_ServerDiagnostics_SessionsDiagnosticsSummary_SessionDiagnosticsArray)), DENIED),
    "security": (lambda one: security(one), DENIED),
    "role set": (lambda one: status(one, number(O.WellKnownRole_Operator_Identities)), DENIED),
    "permissions": (lambda one: status(one, node(one, plants.ANALOG), ua.AttributeIds.RolePermissions), DENIED),
    "add identity": (lambda one: added(one), DENIED),
}

ALL = set(USERS)
MACHINE = {"Operator", "Engineer"}
# Who may.
GRANTED = {
    "browse": {"Engineer"},
    "path": {"Engineer"},
    "read": ALL,
    "read hidden": {"Engineer"},
    "attribute hidden": {"Engineer"},
    "subscribe": ALL,
    "subscribe hidden": {"Engineer"},
    "events": ALL,
    "history": ALL - {"SecurityAdmin"},
    "history hidden": {"Engineer"},
    "write": MACHINE,
    "write elsewhere": {"Engineer"},
    "write hidden": {"Engineer"},
    "arm": MACHINE,
    "acknowledge": MACHINE,
    "enable alarm": {"Engineer"},
    "send": MACHINE,
    "send elsewhere": {"Engineer"},
    "force": {"Engineer"},
    "release all": {"Engineer"},
    "reset fallback": {"Engineer"},
    "switch route": {"Engineer"},
    "restart bus": {"Engineer"},
    "arm by call": MACHINE,
    "diagnostics": {"SecurityAdmin"},
    "security": {"SecurityAdmin"},
    "role set": {"SecurityAdmin"},
    "permissions": {"SecurityAdmin"},
    "add identity": set(),
}
# What has a line in the log when it is refused, and which.
LOGGED = {
    "write": "write refused",
    "write elsewhere": "write refused",
    "write hidden": "write refused",
    "arm": "write refused",
    "acknowledge": "alarm operation refused",
    "enable alarm": "alarm operation refused",
    "send": "call refused",
    "send elsewhere": "call refused",
    "force": "call refused",
    "release all": "call refused",
    "reset fallback": "call refused",
    "switch route": "call refused",
    "restart bus": "call refused",
    "arm by call": "call refused",
}


async def security(one):
    """Only whether there is a value: asyncua can't read its type, whose field Encoding it takes for its own."""
    try:
        return await status(one, number(O.Server_ServerDiagnostics_SessionsDiagnosticsSummary_SessionSecurityDiagnosticsArray))
    except ua.uaerrors.UaError as error:
        expect(type(error).__name__ == "NotEnoughData", error)
        return "Good"


async def hidden_write(one):
    """Nothing of it is writable by anybody: who sees it is told so, who does not is told that it is not there."""
    said = await one.write(node(one, HIDDEN), 1.0, ua.VariantType.Float)
    return "Good" if said == "BadNotWritable" else said


async def added(one):
    """Roles are configured in the file; that nobody may is what counts."""
    rule = ua.IdentityMappingRuleType(CriteriaType=ua.IdentityCriteriaType.UserName, Criteria="mallory")
    said = await call(one, number(O.WellKnownRole_Operator), number(O.WellKnownRole_Operator_AddIdentity), (rule, ua.VariantType.ExtensionObject))
    refused = (DENIED, "BadNotSupported", "BadMethodInvalid", UNKNOWN, "BadNotExecutable", "BadNotImplemented")
    return DENIED if said in refused else said


def refusals(log, role, what):
    """Lines that say that the user of this role was refused this."""
    user = USERS[role] or "anonymous"
    said = re.compile(rf'{what}.* user="{user}" roles="?{role}"? ')
    return [line for line in log.splitlines() if said.search(line)]


async def row(s, role):
    """Every operation of one role; what was not as expected, and what was said in all."""
    plant = await s.plant()
    wrong, told, refused = [], [], 0
    async with await s.session(role) as one:
        for operation, (does, refusal) in OPERATIONS.items():
            want = "Good" if role in GRANTED[operation] else refusal
            before = len(refusals(plant.log(), role, LOGGED.get(operation, "")))
            said = await does(one)
            told.append(f"{operation}: {said}")
            if said != want:
                wrong.append(f"{operation}: {said}, not {want}")
            if operation in LOGGED and want != "Good":
                refused += 1
                more = lambda: len(refusals(plant.log(), role, LOGGED[operation])) > before
                for _ in range(20):
                    if more():
                        break
                    await asyncio.sleep(0.1)
                else:
                    wrong.append(f"{operation}: no line \"{LOGGED[operation]}\" of {USERS[role] or 'anonymous'} in the log")
    expect(not wrong, "; ".join(wrong))
    return f"{refused} refusals in the log; " + "; ".join(told)


@check("table", "anonymous: sees and reads, changes nothing", "OPC 10000-18, 4.2")
async def anonymous(s):
    return await row(s, "Anonymous")


@check("table", "who has logged in and has no other role: sees and reads, changes nothing", "OPC 10000-18, 4.2")
async def authenticated_user(s):
    return await row(s, "AuthenticatedUser")


@check("table", "Observer: sees and reads, changes nothing", "OPC 10000-18, 4.2")
async def observer(s):
    return await row(s, "Observer")


@check("table", "Operator: writes what it is narrowed to, arms and acknowledges", "OPC 10000-18, 4.2")
async def operator(s):
    return await row(s, "Operator")


@check("table", "Engineer: everything of the machine", "OPC 10000-18, 4.2")
async def engineer(s):
    return await row(s, "Engineer")


@check("table", "SecurityAdmin: sessions, roles and audit, nothing of the machine", "OPC 10000-18, 4.2")
async def security_admin(s):
    return await row(s, "SecurityAdmin")


@check("table", "without roles in the configuration whoever logs in may do all, and anonymous reads", "Canvoy: as before roles")
async def without_roles(s):
    async with await s.session("AuthenticatedUser", "plain") as one:
        said = [await one.write(node(one, plants.LEVEL), 2, ua.VariantType.UInt16)]
        said.append(await status(one, number(O.Server_ServerDiagnostics_SessionsDiagnosticsSummary_SessionDiagnosticsArray)))
        said.append(await status(one, node(one, HIDDEN)))
        expect(said == ["Good"] * 3, said)
    async with await s.session("Anonymous", "plain") as one:
        said = [await status(one, node(one, HIDDEN)), await one.write(node(one, plants.LEVEL), 3, ua.VariantType.UInt16)]
        said.append(await status(one, number(O.Server_ServerDiagnostics_SessionsDiagnosticsSummary_SessionDiagnosticsArray)))
        expect(said == ["Good", DENIED, DENIED], said)
