//! Requests and their responses (OPC 10000-4): who may ask for what, and who answers it.
//!
//! The type of a request and its header are read first, then the session is looked at, and only then the rest of the body:
//! whoever is not logged in can't make the server work.

pub mod attribute;
mod discovery;
#[cfg(fuzzing)]
pub mod fuzz;
pub mod history;
mod kind;
pub mod lease;
mod method;
pub mod session;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use opcua::crypto::SecurityPolicy;
use opcua::types::StatusCode;

pub use kind::Service;

use crate::command::Origin;

use super::channel::{Answers, Channel, Request, Turn};
use super::server::Server;
use super::session::{Session, User};
use super::subscription;
use super::view;
use super::wire::{Reader, RequestHeader, Writer, response, service_fault};

/// A request of somebody who is logged in, all but its body.
pub struct Ask<'a> {
    pub server: &'a Arc<Server>,
    pub channel: &'a Arc<Channel>,
    pub session: Arc<Session>,
    pub user: Arc<User>,
    pub header: RequestHeader<'a>,
}

impl Ask<'_> {
    /// Who asks, for the controller's record.
    pub fn origin(&self) -> Origin {
        origin(self.channel, &self.user)
    }

    /// Begins the response.
    pub fn response(&self, service: Service) -> Writer {
        response(service.response(), self.header.handle, StatusCode::Good)
    }

    /// A response that its session can take (MaxResponseMessageSize, OPC 10000-4, 5.7.2.2).
    fn short(&self, writer: Writer) -> Result<Writer, StatusCode> {
        if self.session.takes(writer.len()) { Ok(writer) } else { Err(StatusCode::BadResponseTooLarge) }
    }
}

fn origin(channel: &Channel, user: &User) -> Origin {
    Origin { protocol: "opcua".into(), user: user.display().to_owned(), address: channel.peer.to_string() }
}

/// The length of a list of operations: not empty, not more than `most` (OPC 10000-4, 7.38.2).
pub fn count(reader: &mut Reader<'_>, least_bytes: usize, most: usize) -> Result<usize, StatusCode> {
    match reader.count(least_bytes)? {
        0 => Err(StatusCode::BadNothingToDo),
        count if count > most => Err(StatusCode::BadTooManyOperations),
        count => Ok(count),
    }
}

/// Answers a request, now or later.
pub fn dispatch(server: &Arc<Server>, channel: &Arc<Channel>, answers: &Answers, request: Request) {
    let mut reader = Reader::new(&request.body);
    let read = reader.node_id().and_then(|encoding| Ok((encoding, RequestHeader::read(&mut reader)?)));
    let (encoding, header) = match read {
        Ok(read) => read,
        Err(status) => return answers.send(request.id, service_fault(0, status)),
    };
    let handle = header.handle;
    let Some(service) = encoding.standard().and_then(Service::of_request) else {
        server.counters.request_rejected(StatusCode::BadServiceUnsupported);
        return answers.send(request.id, service_fault(handle, StatusCode::BadServiceUnsupported));
    };
    // who its user is, and on which channel, an ActivateSession decides that was sent before and may still be at work
    let activation = match service {
        Service::CloseSession => None,
        _ => server.sessions.find(header.authentication_token).and_then(|session| {
            let waits = service == Service::ActivateSession || !session.activations.are_over();
            waits.then(move || session.activations.place())
        }),
    };
    if is_slow(service) || activation.is_some() {
        return postpone(server, channel, answers, service, request, activation);
    }
    let answer = answer(server, channel, service, header, &mut reader);
    answers.send(request.id, settle(server, handle, answer));
}

/// What waits: for the controller, for keys and passwords to be checked, for something to publish.
fn is_slow(service: Service) -> bool {
    use Service::*;
    matches!(service, Publish | CreateSession | ActivateSession | Write | Call)
}

/// The bytes of a response, or of the fault in its place.
fn settle(server: &Server, handle: u32, answer: Result<Writer, StatusCode>) -> Vec<u8> {
    match answer {
        Ok(writer) => writer.finish(),
        Err(status) => {
            server.counters.request_rejected(status);
            service_fault(handle, status)
        }
    }
}

/// What is answered at once.
fn answer(
    server: &Arc<Server>,
    channel: &Arc<Channel>,
    service: Service,
    header: RequestHeader<'_>,
    reader: &mut Reader<'_>,
) -> Result<Writer, StatusCode> {
    let open = || response(service.response(), header.handle, StatusCode::Good);
    match service {
        Service::FindServers => {
            let mut writer = open();
            discovery::find_servers(&server.application, reader, &mut writer)?;
            return Ok(writer);
        }
        Service::GetEndpoints => {
            let mut writer = open();
            discovery::get_endpoints(&server.application, reader, &mut writer)?;
            return Ok(writer);
        }
        _ => {}
    }
    allowed(server, channel)?;
    if service == Service::CloseSession {
        let session = find(server, &header)?;
        if session.state().channel.id != channel.id {
            return Err(StatusCode::BadSecureChannelIdInvalid);
        }
        return session::close(server, &session, &header, reader);
    }
    let ask = ask(server, channel, service, header)?;
    let answer = of_session(&ask, service, reader).and_then(|writer| ask.short(writer));
    if answer.is_err() {
        ask.session.counts.error(service);
    }
    answer
}

/// On a channel without security, where none is offered, nothing but discovery is answered.
fn allowed(server: &Server, channel: &Channel) -> Result<(), StatusCode> {
    if channel.policy == SecurityPolicy::None && !server.application.offers_none {
        return Err(StatusCode::BadSecurityPolicyRejected);
    }
    Ok(())
}

fn find(server: &Server, header: &RequestHeader<'_>) -> Result<Arc<Session>, StatusCode> {
    server.sessions.find(header.authentication_token).ok_or(StatusCode::BadSessionIdInvalid)
}

/// The session of a request, and its user: nothing else is done for a session that is not activated, and it ends
/// (OPC 10000-4, 5.7.2.1).
fn ask<'a>(
    server: &'a Arc<Server>,
    channel: &'a Arc<Channel>,
    service: Service,
    header: RequestHeader<'a>,
) -> Result<Ask<'a>, StatusCode> {
    let session = find(server, &header)?;
    let user = session::user_of(&session, channel).inspect_err(|status| {
        session.counts.unauthorized();
        if *status == StatusCode::BadSessionNotActivated && server.sessions.remove(session.id).is_some() {
            server.end_session(&session, true, "used before it was activated");
        }
    })?;
    session.touch(Instant::now());
    lease::renew(server, channel, &session, &user);
    session.counts.call(service);
    Ok(Ask { server, channel, session, user, header })
}

/// The services of a session that are answered at once.
fn of_session(ask: &Ask<'_>, service: Service, reader: &mut Reader<'_>) -> Result<Writer, StatusCode> {
    match service {
        Service::Read => attribute::read(ask, reader),
        Service::HistoryRead => history::read(ask, reader),
        Service::Cancel => session::cancel(ask.server, &ask.session, &ask.header, reader),
        Service::Browse
        | Service::BrowseNext
        | Service::TranslateBrowsePathsToNodeIds
        | Service::RegisterNodes
        | Service::UnregisterNodes => browse(ask, service, reader),
        Service::CreateMonitoredItems
        | Service::ModifyMonitoredItems
        | Service::SetMonitoringMode
        | Service::SetTriggering
        | Service::DeleteMonitoredItems
        | Service::CreateSubscription
        | Service::ModifySubscription
        | Service::SetPublishingMode
        | Service::Republish
        | Service::TransferSubscriptions
        | Service::DeleteSubscriptions => subscription::service::answer(ask, service, reader),
        Service::FindServers
        | Service::GetEndpoints
        | Service::CreateSession
        | Service::ActivateSession
        | Service::CloseSession
        | Service::Write
        | Service::Call
        | Service::Publish => Err(StatusCode::BadInternalError),
    }
}

/// The View services, on the nodes of the plan that holds now.
fn browse(ask: &Ask<'_>, service: Service, reader: &mut Reader<'_>) -> Result<Writer, StatusCode> {
    let scene = ask.server.scenes.now();
    let limits = &ask.server.limits;
    let mut writer = ask.response(service);
    let into = &mut writer;
    match service {
        Service::Browse | Service::BrowseNext => {
            // not locked meanwhile: some nodes are the sessions themselves
            let mut points = std::mem::take(&mut ask.session.state().browses);
            let browsed = match service {
                Service::Browse => view::browse(&scene, &ask.user, limits, &mut points, reader, into),
                _ => view::browse_next(&scene, &ask.user, limits, &mut points, reader, into),
            };
            ask.session.state().browses = points;
            browsed?;
        }
        Service::TranslateBrowsePathsToNodeIds => view::translate(&scene, &ask.user, limits, reader, into)?,
        Service::RegisterNodes => view::register(limits, reader, into)?,
        _ => view::unregister(limits, reader)?,
    }
    Ok(writer)
}

/// Answers beside the connection, and in turn. `activation`: the place among the session's activations and what comes after them.
fn postpone(
    server: &Arc<Server>,
    channel: &Arc<Channel>,
    answers: &Answers,
    service: Service,
    request: Request,
    activation: Option<impl Future<Output = Turn> + Send + 'static>,
) {
    let (server, channel, answers) = (server.clone(), channel.clone(), answers.clone());
    if service == Service::Publish && activation.is_none() {
        return publish(&server, &channel, &answers, &request);
    }
    let turn = matches!(service, Service::Write | Service::Call).then(|| channel.writes.place());
    // a request that waits takes memory like an answer that waits
    answers.hold(request.body.len());
    tokio::spawn(async move {
        let active = match activation {
            Some(activation) => Some(activation.await),
            None => None,
        };
        // those that come after an activation need not wait for each other
        let active = active.filter(|_| service == Service::ActivateSession);
        let done = match turn {
            Some(turn) => Some(turn.await),
            None => None,
        };
        if service == Service::Publish {
            publish(&server, &channel, &answers, &request);
        } else {
            let mut reader = Reader::new(&request.body);
            if let Ok((handle, answer)) = waiting(&server, &channel, service, &mut reader).await {
                answers.send(request.id, settle(&server, handle, answer));
            }
        }
        answers.release(request.body.len());
        drop((done, active));
    });
}

/// Whatever is answered beside the connection. The request's header has been read before, so it can be read again.
async fn waiting(
    server: &Arc<Server>,
    channel: &Arc<Channel>,
    service: Service,
    reader: &mut Reader<'_>,
) -> Result<(u32, Result<Writer, StatusCode>), StatusCode> {
    reader.node_id()?;
    let header = RequestHeader::read(reader)?;
    if !is_slow(service) {
        return Ok((header.handle, answer(server, channel, service, header, reader)));
    }
    let answer = async {
        allowed(server, channel)?;
        if service == Service::CreateSession {
            return session::create(server, channel, &header, reader).await;
        }
        if service == Service::ActivateSession {
            let session = find(server, &header)?;
            return session::activate(server, channel, &session, header.handle, reader).await;
        }
        let ask = ask(server, channel, service, header)?;
        let done = match service {
            Service::Call => method::call(&ask, reader).await.and_then(|writer| ask.short(writer)),
            _ => match attribute::asked(server, reader) {
                Ok(asked) => {
                    ask.short(attribute::write(server, channel, &ask.session, &ask.user, header.handle, asked).await)
                }
                Err(status) => Err(status),
            },
        };
        if done.is_err() {
            ask.session.counts.error(service);
        }
        done
    };
    let answer = answer.await;
    if service == Service::CreateSession && answer.is_err() {
        server.counters.session_rejected();
    }
    Ok((header.handle, answer))
}

fn publish(server: &Arc<Server>, channel: &Arc<Channel>, answers: &Answers, request: &Request) {
    let mut reader = Reader::new(&request.body);
    let read = reader.node_id().and_then(|_| RequestHeader::read(&mut reader));
    let Ok(header) = read else { return };
    let parked =
        allowed(server, channel).and_then(|()| ask(server, channel, Service::Publish, header)).and_then(|ask| {
            subscription::service::publish(&ask, answers, request.id, &mut reader)
                .inspect_err(|_| ask.session.counts.error(Service::Publish))
        });
    if let Err(status) = parked {
        answers.send(request.id, settle(server, header.handle, Err(status)));
    }
}
