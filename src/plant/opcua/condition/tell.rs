//! Changes of alarms as events, and what a client gets that asks for all of them (ConditionRefresh, OPC 10000-9, 5.5.7).

use std::convert::Infallible;
use std::sync::Arc;

use opcua::types::{DateTime, ObjectId, ObjectTypeId};
use tokio::sync::broadcast::error::RecvError;

use super::Condition;
use crate::plant::access::Rights;
use crate::plant::alarm::Change;
use crate::plant::opcua::scene::Scene;
use crate::plant::opcua::server::Server;
use crate::plant::opcua::space::Space;
use crate::plant::opcua::subscription::Event;
use crate::store::clock;

/// An event of a condition.
pub fn event(scene: &Scene, condition: Condition) -> Event {
    let space = condition.gone.as_ref().map_or(&scene.space, |former| &former.0);
    let source = space.alarms.source(condition.alarm);
    let notifiers = space.notifiers(source).into_iter().map(|node| space.id(node)).collect();
    Event {
        event_type: opcua::types::NodeId::new(0, condition.kind),
        source_node: condition.source.clone(),
        source_name: condition.source_name.clone(),
        severity: condition.severity(),
        message: condition.message.clone(),
        time: crate::plant::opcua::mapping::source_time(condition.state.times.last).unwrap_or(DateTime::null()),
        fields: Vec::new(),
        confidential: false,
        audience: None,
        notifiers,
        condition: Some(Box::new(condition)),
    }
}

/// An event about conditions as such, from the server (5.11).
pub fn about(kind: ObjectTypeId, message: &str) -> Event {
    Event {
        event_type: kind.into(),
        source_node: ObjectId::Server.into(),
        source_name: "Server".into(),
        severity: 100,
        message: message.into(),
        time: DateTime::now(),
        fields: Vec::new(),
        confidential: false,
        audience: None,
        notifiers: Vec::new(),
        condition: None,
    }
}

/// All conditions that are of interest to whoever has missed everything.
pub fn retained(scene: &Scene) -> Vec<Event> {
    let alive = scene.view.alive(clock::monotonic());
    let keys = scene.space.plan().alarms.len();
    let retained: Vec<_> = scene.alarms.look(|book| {
        let all = (0..keys).filter_map(|alarm| Some((alarm, book.state(&scene.space.alarms.key(alarm))?.clone())));
        all.filter(|(_, state)| state.retain()).collect()
    });
    let conditions =
        retained.into_iter().filter_map(|(alarm, state)| Condition::new(&scene.space, alarm, state, alive));
    conditions.map(|condition| event(scene, condition)).collect()
}

/// Tells changes to whoever has subscribed to them, for good.
pub async fn run(server: &Server) -> Infallible {
    let mut changes = server.plant.alarms.changes();
    loop {
        match changes.recv().await {
            Ok(batch) => {
                let removed = former(server, &batch).await;
                tell(server, &batch, removed.as_ref());
            }
            Err(RecvError::Lagged(batches)) => {
                tracing::warn!(
                    batches,
                    "changes of alarms came faster than OPC UA could tell them; clients are asked to refresh"
                );
                let message = "Changes of alarms were lost: call ConditionRefresh";
                server.event(&about(ObjectTypeId::RefreshRequiredEventType, message));
            }
            // the plant has gone, and with it this server
            Err(RecvError::Closed) => std::future::pending::<()>().await,
        }
    }
}

/// The nodes of the plan before, where a change tells that a reload has taken an alarm out of it: whoever shows it must hear that
/// it is over, and nobody else. Who may see it is what holds now. Blocks for as long as a reload takes, beside the serving threads.
async fn former(server: &Server, batch: &[Change]) -> Option<Arc<Space>> {
    let plan = batch.iter().find(|change| change.removed)?.plan.clone();
    let space = server.scenes.now().space.clone();
    let made = tokio::task::spawn_blocking(move || {
        let rights = Rights::new(space.rights.configs(), &plan);
        Arc::new(space.of(plan).with_rights(Arc::new(rights)))
    });
    made.await.ok()
}

fn tell(server: &Server, batch: &Arc<[Change]>, removed: Option<&Arc<Space>>) {
    if !server.subscriptions().wants_events() {
        return;
    }
    let scene = server.scenes.now();
    let alive = scene.view.alive(clock::monotonic());
    for change in batch.iter() {
        // what is disabled is silent, but for that it is
        let silent = !change.state.enabled && change.what != crate::plant::alarm::What::Disabled;
        if change.removed {
            let state = change.state.clone();
            let gone = removed.and_then(|space| Condition::removed(space.clone(), change.alarm, state, alive));
            if let Some(condition) = gone.filter(|_| !silent) {
                server.event(&event(&scene, condition));
            }
            continue;
        }
        // the scene may be of the plan before or after for a moment
        let alarm = match Arc::ptr_eq(&change.plan, &scene.view.plan) {
            true => Some(change.alarm),
            false => {
                let same = change.plan.alarms.get(change.alarm).map(|alarm| alarm.key(&change.plan));
                same.and_then(|key| scene.space.alarms.find(&key))
            }
        };
        let condition = alarm.and_then(|alarm| Condition::new(&scene.space, alarm, change.state.clone(), alive));
        if let Some(condition) = condition.filter(|_| !silent) {
            server.event(&event(&scene, condition));
        }
    }
}
