//! The methods of conditions (OPC 10000-9, 5.5 to 5.8): what somebody does about an alarm, and ConditionRefresh.

use opcua::types::{MethodId, ObjectTypeId, StatusCode, Variant};

use super::{Outcome, counted};
use crate::plant::access::Operation as Right;
use crate::plant::alarm::{Operation, Refused, Said};
use crate::plant::opcua::audit::{self, Operated};
use crate::plant::opcua::condition::{number_of, tell};
use crate::plant::opcua::scene::Scene;
use crate::plant::opcua::service::Ask;
use crate::plant::opcua::space::Node;
use crate::plant::opcua::subscription::{Reply, item::Item};
use crate::store::clock;

/// Nanoseconds from a refresh that had nothing to tell to the next one of the same subscription.
const SHORTEST_PAUSE: u64 = 100_000_000;

/// Whether this is ConditionRefresh or ConditionRefresh2, which are called at the ConditionType (5.5.7, 5.5.8).
pub fn is_refresh(object: u32, method: u32) -> bool {
    let methods = [MethodId::ConditionType_ConditionRefresh as u32, MethodId::ConditionType_ConditionRefresh2 as u32];
    object == ObjectTypeId::ConditionType as u32 && methods.contains(&method)
}

/// Whether a method of namespace 0 is one of conditions, which their types declare.
pub fn is_operation(method: u32) -> bool {
    Called::of_type(method).is_some()
}

/// Tells all retained conditions to one subscription or one item of it, between two events that say so.
pub async fn refresh(ask: &Ask<'_>, method: u32, arguments: &[Variant]) -> Outcome {
    let one = method == MethodId::ConditionType_ConditionRefresh2 as u32;
    let asked = if one {
        match counted::<2>(arguments) {
            Ok([Variant::UInt32(subscription), Variant::UInt32(item)]) => Ok((*subscription, Some(*item))),
            Ok([Variant::UInt32(_), _]) => Err(Outcome::mismatch(1, 2)),
            Ok(_) => Err(Outcome::mismatch(0, 2)),
            Err(outcome) => Err(outcome),
        }
    } else {
        match counted::<1>(arguments) {
            Ok([Variant::UInt32(subscription)]) => Ok((*subscription, None)),
            Ok(_) => Err(Outcome::mismatch(0, 1)),
            Err(outcome) => Err(outcome),
        }
    };
    match asked {
        Ok((subscription, item)) => refreshed(ask, subscription, item).await.into(),
        Err(outcome) => outcome,
    }
}

/// One item after the other, and others meanwhile: each under one lock, so that no other event comes between.
async fn refreshed(ask: &Ask<'_>, id: u32, item: Option<u32>) -> StatusCode {
    let (items, numbers): (Vec<u32>, _) = {
        let mut all = ask.server.subscriptions();
        // one that belongs to somebody else is told like one that does not exist
        let Ok(subscription) = all.of(ask.session.id, id) else { return StatusCode::BadSubscriptionIdInvalid };
        let now = clock::monotonic();
        let again = subscription.refreshed.is_some_and(|before| now.saturating_sub(before) < SHORTEST_PAUSE);
        let items = &subscription.items;
        if item.is_some_and(|item| !items.get(&item).is_some_and(|item| item.is_event())) {
            return StatusCode::BadMonitoredItemIdInvalid;
        }
        // until its client has got it all, or soon after one that had nothing to tell: asking again and again costs nothing (5.5.7)
        if again || items.values().any(|item| item.is_refreshing()) {
            return StatusCode::BadRefreshInProgress;
        }
        let wanted = |one: &&Item| one.is_event() && one.is_on() && item.is_none_or(|item| item == one.id);
        let events = items.values().filter(wanted).map(|item| item.id).collect();
        subscription.refreshed = Some(now);
        (events, all.refresh_numbers())
    };
    for item in items {
        refresh_item(ask, numbers, (id, item));
        tokio::task::yield_now().await;
    }
    if let Ok(subscription) = ask.server.subscriptions().of(ask.session.id, id)
        && subscription.items.values().any(|item| item.is_refreshing())
    {
        subscription.refreshed = None;
    }
    StatusCode::Good
}

fn refresh_item(ask: &Ask<'_>, numbers: (u64, u64), (id, item): (u32, u32)) {
    let scene = ask.server.scenes.now();
    let start = tell::about(ObjectTypeId::RefreshStartEventType, "The conditions of interest follow");
    let end = tell::about(ObjectTypeId::RefreshEndEventType, "These were the conditions of interest");
    let replies = {
        let mut all = ask.server.subscriptions();
        // it may have gone meanwhile, or to another session
        if all.of(ask.session.id, id).is_err() {
            return;
        }
        let mut events = tell::retained(&scene);
        events.insert(0, start);
        events.push(end);
        all.refresh(&events, numbers, (id, item));
        all.replies()
    };
    replies.into_iter().for_each(Reply::send);
}

/// What a method is called in its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Called {
    Enable,
    Disable,
    AddComment,
    Acknowledge,
    Confirm,
    TimedShelve,
    OneShotShelve,
    Unshelve,
}

impl Called {
    /// By the method of the type, in namespace 0.
    fn of_type(number: u32) -> Option<Called> {
        let all = [
            (MethodId::ConditionType_Enable, Called::Enable),
            (MethodId::ConditionType_Disable, Called::Disable),
            (MethodId::ConditionType_AddComment, Called::AddComment),
            (MethodId::AcknowledgeableConditionType_Acknowledge, Called::Acknowledge),
            (MethodId::AcknowledgeableConditionType_Confirm, Called::Confirm),
            (MethodId::AlarmConditionType_ShelvingState_TimedShelve, Called::TimedShelve),
            (MethodId::AlarmConditionType_ShelvingState_OneShotShelve, Called::OneShotShelve),
            (MethodId::AlarmConditionType_ShelvingState_Unshelve, Called::Unshelve),
            (MethodId::ShelvedStateMachineType_TimedShelve, Called::TimedShelve),
            (MethodId::ShelvedStateMachineType_OneShotShelve, Called::OneShotShelve),
            (MethodId::ShelvedStateMachineType_Unshelve, Called::Unshelve),
        ];
        all.into_iter().find(|(method, _)| *method as u32 == number).map(|(_, called)| called)
    }

    /// By the method of an instance.
    fn of_instance(path: &str) -> Option<Called> {
        Some(match path {
            "Enable" => Called::Enable,
            "Disable" => Called::Disable,
            "AddComment" => Called::AddComment,
            "Acknowledge" => Called::Acknowledge,
            "Confirm" => Called::Confirm,
            "ShelvingState/TimedShelve" => Called::TimedShelve,
            "ShelvingState/OneShotShelve" => Called::OneShotShelve,
            "ShelvingState/Unshelve" => Called::Unshelve,
            _ => return None,
        })
    }

    /// What somebody needs the right to.
    fn right(self) -> Right {
        match self {
            Called::Enable | Called::Disable => Right::AlarmEnable,
            _ => Right::Alarm,
        }
    }

    fn is_shelving(self) -> bool {
        matches!(self, Called::TimedShelve | Called::OneShotShelve | Called::Unshelve)
    }

    /// What it says in audit records, and of which type they are (5.10).
    fn audit(self) -> (&'static str, ObjectTypeId) {
        match self {
            Called::Enable => ("Enable", ObjectTypeId::AuditConditionEnableEventType),
            Called::Disable => ("Disable", ObjectTypeId::AuditConditionEnableEventType),
            Called::AddComment => ("AddComment", ObjectTypeId::AuditConditionCommentEventType),
            Called::Acknowledge => ("Acknowledge", ObjectTypeId::AuditConditionAcknowledgeEventType),
            Called::Confirm => ("Confirm", ObjectTypeId::AuditConditionConfirmEventType),
            Called::TimedShelve => ("TimedShelve", ObjectTypeId::AuditConditionShelvingEventType),
            Called::OneShotShelve => ("OneShotShelve", ObjectTypeId::AuditConditionShelvingEventType),
            Called::Unshelve => ("Unshelve", ObjectTypeId::AuditConditionShelvingEventType),
        }
    }

    /// What is to be done, from the arguments.
    fn operation(self, key: &str, arguments: &[Variant]) -> Result<Operation, Outcome> {
        let none = || counted::<0>(arguments).map(drop);
        Ok(match self {
            Called::Enable => none().map(|()| Operation::Enable)?,
            Called::Disable => none().map(|()| Operation::Disable)?,
            Called::OneShotShelve => none().map(|()| Operation::OneShotShelve)?,
            Called::Unshelve => none().map(|()| Operation::Unshelve)?,
            Called::TimedShelve => match counted::<1>(arguments)? {
                // infinity and NaN are no times
                [Variant::Double(ms)] if !ms.is_finite() || *ms < 0.0 => Operation::TimedShelve(0),
                [Variant::Double(ms)] => Operation::TimedShelve((ms * 1e6) as u64),
                _ => return Err(Outcome::mismatch(0, 1)),
            },
            Called::AddComment | Called::Acknowledge | Called::Confirm => {
                let (id, comment) = match counted::<2>(arguments)? {
                    [Variant::ByteString(id), Variant::LocalizedText(comment)] => (id, Some(comment)),
                    // some clients have no empty text
                    [Variant::ByteString(id), Variant::Empty] => (id, None),
                    [Variant::ByteString(_), _] => return Err(Outcome::mismatch(1, 2)),
                    _ => return Err(Outcome::mismatch(0, 2)),
                };
                let number = number_of(key, id.as_ref()).unwrap_or(0);
                let said = comment.map(|comment| Said {
                    text: comment.text.as_ref().to_owned(),
                    locale: comment.locale.as_ref().to_owned(),
                });
                // null for both leaves the comment as it is (5.5.6, 5.7.3)
                let given = said.filter(|said| !said.text.is_empty() || !said.locale.is_empty());
                match self {
                    Called::Acknowledge => Operation::Acknowledge { number, comment: given },
                    Called::Confirm => Operation::Confirm { number, comment: given },
                    _ => Operation::Comment { number, comment: given },
                }
            }
        })
    }
}

/// The status of each refusal, as the clauses of the methods have it.
fn status(refused: Refused) -> StatusCode {
    match refused {
        Refused::Unknown => StatusCode::BadNodeIdUnknown,
        Refused::EventUnknown => StatusCode::BadEventIdUnknown,
        Refused::AlreadyEnabled => StatusCode::BadConditionAlreadyEnabled,
        Refused::AlreadyDisabled => StatusCode::BadConditionAlreadyDisabled,
        Refused::Disabled => StatusCode::BadConditionDisabled,
        Refused::AlreadyAcknowledged => StatusCode::BadConditionBranchAlreadyAcked,
        Refused::AlreadyConfirmed => StatusCode::BadConditionBranchAlreadyConfirmed,
        Refused::AlreadyShelved => StatusCode::BadConditionAlreadyShelved,
        Refused::NotShelved => StatusCode::BadConditionNotShelved,
        Refused::ShelvingTime => StatusCode::BadShelvingTimeOutOfRange,
        Refused::CommentTooLong => StatusCode::BadInvalidArgument,
    }
}

/// A method of one condition: that of the instance, or that of its type called at the instance.
pub async fn call(ask: &Ask<'_>, scene: &Scene, (on, method): (Node, Node), arguments: &[Variant]) -> Outcome {
    let Some((alarm, place)) = scene.space.condition(on) else { return StatusCode::BadNodeIdInvalid.into() };
    let called = match scene.space.condition(method) {
        Some((of, path)) if of == alarm => Called::of_instance(path),
        Some(_) => None,
        None => scene.space.id(method).as_u32().and_then(Called::of_type),
    };
    // methods of the state machine may be called at it, or at the condition (5.8.17.3)
    let Some(called) = called.filter(|called| place.is_empty() || called.is_shelving() && place == "ShelvingState")
    else {
        return StatusCode::BadMethodInvalid.into();
    };
    let key = scene.space.alarms.key(alarm);
    let outcome = if scene.space.may(&ask.user, called.right(), on) {
        match called.operation(&key, arguments) {
            Ok(operation) => match ask.server.plant.alarms.operate(&key, &operation, ask.user.display()).await {
                Ok(()) => {
                    let arguments = vec![StatusCode::Good; arguments.len()];
                    Outcome { status: StatusCode::Good, arguments, output: Vec::new() }
                }
                // it is the last argument of each of them
                Err(Refused::CommentTooLong) => {
                    let others = arguments.iter().skip(1).map(|_| StatusCode::Good);
                    Outcome::wrong(others.chain([StatusCode::BadOutOfRange]).collect())
                }
                Err(refused) => status(refused).into(),
            },
            Err(outcome) => outcome,
        }
    } else {
        StatusCode::BadUserAccessDenied.into()
    };
    let (name, kind) = called.audit();
    let node = scene.space.id(scene.space.alarms.node(alarm));
    let method = scene.space.id(method);
    audit::operated(ask, Operated { name, kind, key: &key, node, method, arguments, status: outcome.status });
    outcome
}
