//! The services of the Subscription and MonitoredItem sets, from the bytes of a request to those of a response.

use opcua::types::{StatusCode, TimestampsToReturn};

use super::items::{self, Parameters};
use super::publish::{Parked, Reply};
use super::{Settings, Subscriptions};
use crate::plant::opcua::audit::Denied;
use crate::plant::opcua::channel::Answers;
use crate::plant::opcua::service::{Ask, Service, attribute, count};
use crate::plant::opcua::versions::Versions;
use crate::plant::opcua::wire::{Reader, Writer};
use crate::store::clock;

/// Acknowledgements in one Publish request.
const MOST_ACKNOWLEDGED: usize = 10_000;
/// How often items are created anew while one plan follows another.
const ATTEMPTS: usize = 5;

/// Does something with all subscriptions, and sends what came of it once they are free again.
pub fn with<T>(ask: &Ask<'_>, act: impl FnOnce(&mut Subscriptions) -> T) -> T {
    let (done, replies) = {
        let mut subscriptions = ask.server.subscriptions();
        let done = act(&mut subscriptions);
        (done, subscriptions.replies())
    };
    replies.into_iter().for_each(Reply::send);
    ask.server.wake.notify_one();
    done
}

/// All but Publish.
pub fn answer(ask: &Ask<'_>, service: Service, reader: &mut Reader<'_>) -> Result<Writer, StatusCode> {
    let mut writer = ask.response(service);
    let into = &mut writer;
    match service {
        Service::CreateSubscription => create(ask, reader, into),
        Service::ModifySubscription => modify(ask, reader, into),
        Service::SetPublishingMode => set_publishing_mode(ask, reader, into),
        Service::DeleteSubscriptions => delete(ask, reader, into),
        Service::TransferSubscriptions => transfer(ask, reader, into),
        Service::Republish => republish(ask, reader, into),
        Service::CreateMonitoredItems => create_items(ask, reader, into),
        Service::ModifyMonitoredItems => modify_items(ask, reader, into),
        Service::SetMonitoringMode => set_monitoring_mode(ask, reader, into),
        Service::SetTriggering => set_triggering(ask, reader, into),
        Service::DeleteMonitoredItems => delete_items(ask, reader, into),
        _ => Err(StatusCode::BadServiceUnsupported),
    }?;
    Ok(writer)
}

/// A list of results and no diagnostics.
fn statuses(writer: &mut Writer, statuses: &[StatusCode]) {
    writer.count(statuses.len());
    statuses.iter().for_each(|status| writer.status(*status));
    writer.i32(-1);
}

fn create(ask: &Ask<'_>, reader: &mut Reader<'_>, writer: &mut Writer) -> Result<(), StatusCode> {
    let (interval, lifetime, keep_alive) = (reader.f64()?, reader.u32()?, reader.u32()?);
    let (most, enabled, priority) = (reader.u32()?, reader.bool()?, reader.u8()?);
    let settings = Settings::revised(interval, lifetime, keep_alive, most, priority);
    let client = ask.session.client.application_uri.as_ref();
    let now = clock::monotonic();
    let id = with(ask, |all| all.create(ask.session.id, &ask.user, client, settings, enabled, now))?;
    writer.u32(id);
    revised(writer, settings);
    Ok(())
}

fn revised(writer: &mut Writer, settings: Settings) {
    writer.f64(settings.interval_ms());
    writer.u32(settings.lifetime);
    writer.u32(settings.keep_alive);
}

fn modify(ask: &Ask<'_>, reader: &mut Reader<'_>, writer: &mut Writer) -> Result<(), StatusCode> {
    let id = reader.u32()?;
    let (interval, lifetime, keep_alive) = (reader.f64()?, reader.u32()?, reader.u32()?);
    let (most, priority) = (reader.u32()?, reader.u8()?);
    let settings = Settings::revised(interval, lifetime, keep_alive, most, priority);
    with(ask, |all| {
        let subscription = all.of(ask.session.id, id)?;
        subscription.settings = settings;
        subscription.due = subscription.due.min(clock::monotonic() + settings.interval);
        subscription.diagnostics.modified += 1;
        subscription.heard();
        Ok::<_, StatusCode>(())
    })?;
    revised(writer, settings);
    Ok(())
}

/// The numbers of subscriptions in a request.
fn ids(ask: &Ask<'_>, reader: &mut Reader<'_>) -> Result<Vec<u32>, StatusCode> {
    let count = count(reader, 4, ask.server.limits.subscriptions.max(1000))?;
    (0..count).map(|_| reader.u32()).collect()
}

fn set_publishing_mode(ask: &Ask<'_>, reader: &mut Reader<'_>, writer: &mut Writer) -> Result<(), StatusCode> {
    let enabled = reader.bool()?;
    let ids = ids(ask, reader)?;
    let results = with(ask, |all| {
        let switch = |id: &u32| match all.of(ask.session.id, *id) {
            Ok(subscription) => {
                subscription.enabled = enabled;
                subscription.heard();
                let count = &mut subscription.diagnostics;
                *(if enabled { &mut count.enabled } else { &mut count.disabled }) += 1;
                StatusCode::Good
            }
            Err(status) => status,
        };
        ids.iter().map(switch).collect::<Vec<_>>()
    });
    statuses(writer, &results);
    Ok(())
}

fn delete(ask: &Ask<'_>, reader: &mut Reader<'_>, writer: &mut Writer) -> Result<(), StatusCode> {
    let ids = ids(ask, reader)?;
    let results: Vec<_> = with(ask, |all| ids.iter().map(|id| all.delete(ask.session.id, *id)).collect());
    statuses(writer, &results);
    Ok(())
}

fn transfer(ask: &Ask<'_>, reader: &mut Reader<'_>, writer: &mut Writer) -> Result<(), StatusCode> {
    let ids = ids(ask, reader)?;
    let initial = reader.bool()?;
    let client = ask.session.client.application_uri.as_ref();
    if ask.user.is_anonymous() && ask.channel.certificate.is_none() {
        // nobody could tell whose they are (5.14.7)
        return Err(StatusCode::BadUserAccessDenied);
    }
    let results: Vec<_> =
        with(ask, |all| ids.iter().map(|id| all.transfer(*id, ask.session.id, (&ask.user, client), initial)).collect());
    writer.count(results.len());
    for result in results {
        let (status, numbers) = match result {
            Ok(numbers) => (StatusCode::Good, numbers),
            Err(status) => (status, Vec::new()),
        };
        writer.status(status);
        writer.count(numbers.len());
        numbers.iter().for_each(|number| writer.u32(*number));
    }
    writer.i32(-1);
    Ok(())
}

fn republish(ask: &Ask<'_>, reader: &mut Reader<'_>, writer: &mut Writer) -> Result<(), StatusCode> {
    let (id, number) = (reader.u32()?, reader.u32()?);
    let message = with(ask, |all| {
        let subscription = all.of(ask.session.id, id)?;
        subscription.heard();
        subscription.republish(number).ok_or(StatusCode::BadMessageNotAvailable)
    })?;
    writer.raw(&message);
    Ok(())
}

/// Parks a Publish request.
pub fn publish(ask: &Ask<'_>, answers: &Answers, request: u32, reader: &mut Reader<'_>) -> Result<(), StatusCode> {
    let count = reader.count(8)?;
    if count > MOST_ACKNOWLEDGED {
        return Err(StatusCode::BadTooManyOperations);
    }
    let acknowledged =
        (0..count).map(|_| Ok((reader.u32()?, reader.u32()?))).collect::<Result<Vec<_>, StatusCode>>()?;
    let wait = u64::from(ask.header.timeout_hint) * 1_000_000;
    let parked = Parked {
        answers: answers.clone(),
        request,
        handle: ask.header.handle,
        deadline: (wait > 0).then(|| clock::monotonic() + wait),
        channel: ask.channel.id,
        most_bytes: ask.session.max_response_bytes,
        results: Vec::with_capacity(count),
    };
    with(ask, |all| all.publish(ask.session.id, parked, &acknowledged))
}

/// The number of a subscription of this session.
fn subscription(ask: &Ask<'_>, id: u32) -> Result<(), StatusCode> {
    ask.server.subscriptions().of(ask.session.id, id).map(|found| found.heard())
}

fn create_items(ask: &Ask<'_>, reader: &mut Reader<'_>, writer: &mut Writer) -> Result<(), StatusCode> {
    let id = reader.u32()?;
    let timestamps = attribute::timestamps(reader.u32()?);
    let count = count(reader, 40, ask.server.limits.monitored_items_per_call);
    subscription(ask, id)?;
    let (timestamps, count) = (timestamps?, count?);
    let mut results = None;
    let mut denied = Denied::default();
    for _ in 0..ATTEMPTS {
        denied = Denied::default();
        results = try_create_items(ask, *reader, (id, count), timestamps, &mut denied)?;
        if results.is_some() {
            break;
        }
    }
    let results = results.ok_or(StatusCode::BadResourceUnavailable)?;
    denied.tell(ask, Service::CreateMonitoredItems);
    writer.count(results.len());
    for result in results {
        let (status, made, checked) = match result {
            Ok((made, checked)) => (StatusCode::Good, made, checked),
            Err((status, checked)) => (status, items::Made { id: 0, interval: 0.0, queue_size: 0 }, checked),
        };
        writer.status(status);
        writer.u32(made.id);
        writer.f64(made.interval);
        writer.u32(made.queue_size);
        filter_result(writer, checked.as_ref());
    }
    writer.i32(-1);
    Ok(())
}

type Created = Result<(items::Made, Option<super::event::Checked>), items::Refused>;

/// Creates the items in the plan that holds now; `None` where another took its place meanwhile.
fn try_create_items(
    ask: &Ask<'_>,
    mut reader: Reader<'_>,
    (id, count): (u32, usize),
    timestamps: TimestampsToReturn,
    denied: &mut Denied,
) -> Result<Option<Vec<Created>>, StatusCode> {
    let scene = ask.server.subscriptions().scene();
    let limits = &ask.server.limits;
    let mut versions = Versions::default();
    // everything that takes time happens before the subscriptions are locked
    let wanted = (0..count)
        .map(|_| {
            let mut ahead = reader;
            let wanted = items::wanted(&mut reader, &scene, &ask.user, limits, timestamps, &mut versions)?;
            if let (Err((StatusCode::BadUserAccessDenied, _)), Ok(id)) = (&wanted, ahead.node_id()) {
                denied.add(|| id.to_owned());
            }
            Ok(wanted)
        })
        .collect::<Result<Vec<_>, StatusCode>>()?;
    let now = clock::monotonic();
    Ok(with(ask, |all| {
        if all.scene().number != scene.number {
            return None;
        }
        let add = |wanted: Result<items::Wanted, items::Refused>| {
            let mut wanted = wanted?;
            let checked = wanted.checked.take();
            let made = all.add(ask.session.id, id, wanted, now).map_err(|status| (status, None))?;
            Ok((made, checked))
        };
        Some(wanted.into_iter().map(add).collect())
    }))
}

fn filter_result(writer: &mut Writer, checked: Option<&super::event::Checked>) {
    match checked {
        Some(checked) => checked.write(writer),
        None => writer.raw(&[0, 0, 0]),
    }
}

fn modify_items(ask: &Ask<'_>, reader: &mut Reader<'_>, writer: &mut Writer) -> Result<(), StatusCode> {
    let id = reader.u32()?;
    let timestamps = attribute::timestamps(reader.u32()?);
    let count = count(reader, 24, ask.server.limits.monitored_items_per_call);
    subscription(ask, id)?;
    let (timestamps, count) = (timestamps?, count?);
    let asked =
        (0..count).map(|_| Ok((reader.u32()?, Parameters::read(reader)?))).collect::<Result<Vec<_>, StatusCode>>()?;
    let now = clock::monotonic();
    let results: Vec<_> = with(ask, |all| {
        let change = |(item, parameters): &(u32, Parameters<'_>)| {
            all.change((ask.session.id, id, *item), parameters, timestamps, now)
        };
        asked.iter().map(change).collect()
    });
    writer.count(results.len());
    for result in results {
        let (status, interval, queue, checked) = match result {
            Ok((made, checked)) => (StatusCode::Good, made.interval, made.queue_size, checked),
            Err((status, checked)) => (status, 0.0, 0, checked),
        };
        writer.status(status);
        writer.f64(interval);
        writer.u32(queue);
        filter_result(writer, checked.as_ref());
    }
    writer.i32(-1);
    Ok(())
}

/// The numbers of items in a request; `least`: of the list.
fn item_ids(ask: &Ask<'_>, reader: &mut Reader<'_>) -> Result<Vec<u32>, StatusCode> {
    let count = reader.count(4)?;
    if count > ask.server.limits.monitored_items_per_call {
        return Err(StatusCode::BadTooManyOperations);
    }
    (0..count).map(|_| reader.u32()).collect()
}

fn set_monitoring_mode(ask: &Ask<'_>, reader: &mut Reader<'_>, writer: &mut Writer) -> Result<(), StatusCode> {
    let id = reader.u32()?;
    let mode = items::mode(reader.u32()?);
    let ids = item_ids(ask, reader)?;
    subscription(ask, id)?;
    let mode = mode?;
    if ids.is_empty() {
        return Err(StatusCode::BadNothingToDo);
    }
    let now = clock::monotonic();
    let results: Vec<_> =
        with(ask, |all| ids.iter().map(|item| all.switch((ask.session.id, id, *item), mode, now)).collect());
    statuses(writer, &results);
    Ok(())
}

fn set_triggering(ask: &Ask<'_>, reader: &mut Reader<'_>, writer: &mut Writer) -> Result<(), StatusCode> {
    let (id, item) = (reader.u32()?, reader.u32()?);
    let (add, remove) = (item_ids(ask, reader)?, item_ids(ask, reader)?);
    subscription(ask, id)?;
    if add.is_empty() && remove.is_empty() {
        return Err(StatusCode::BadNothingToDo);
    }
    let (added, removed) = with(ask, |all| all.link((ask.session.id, id, item), &add, &remove))?;
    statuses(writer, &added);
    statuses(writer, &removed);
    Ok(())
}

fn delete_items(ask: &Ask<'_>, reader: &mut Reader<'_>, writer: &mut Writer) -> Result<(), StatusCode> {
    let id = reader.u32()?;
    let ids = item_ids(ask, reader)?;
    subscription(ask, id)?;
    if ids.is_empty() {
        return Err(StatusCode::BadNothingToDo);
    }
    let results: Vec<_> = with(ask, |all| ids.iter().map(|item| all.drop_item(ask.session.id, id, *item)).collect());
    statuses(writer, &results);
    Ok(())
}

/// The method ResendData (OPC 10000-5, 9.2).
pub fn resend_data(ask: &Ask<'_>, id: u32) -> Result<(), StatusCode> {
    with(ask, |all| own(all, ask.session.id, id).map(|subscription| subscription.resend())).map(drop)
}

/// The method GetMonitoredItems (OPC 10000-5, 9.1): numbers and client handles.
pub fn monitored_items(ask: &Ask<'_>, id: u32) -> Result<(Vec<u32>, Vec<u32>), StatusCode> {
    with(ask, |all| {
        let items = &own(all, ask.session.id, id)?.items;
        Ok(items.values().map(|item| (item.id, item.settings.client_handle)).unzip())
    })
}

/// A subscription of the session; another's is another error than none.
fn own(all: &mut Subscriptions, session: u32, id: u32) -> Result<&mut super::Subscription, StatusCode> {
    if all.get(id).is_some_and(|other| other.session != Some(session)) {
        return Err(StatusCode::BadUserAccessDenied);
    }
    all.of(session, id)
}
