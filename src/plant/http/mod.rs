//! The HTTP listener: metrics for Prometheus, health, the landing page and the same as JSON. It only shows.

mod alarms;
pub mod config;
mod machine;
mod metrics;
mod own;
mod page;
mod server;
mod snapshot;
#[cfg(test)]
pub(crate) mod tests;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{RawQuery, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::plant::pulse::Pulse;
use crate::plant::status::Status;
use crate::plant::{Plant, View};
use crate::store::clock;
use metrics::Metrics;
use own::Own;
use server::Limits;
use snapshot::Filter;

pub use config::Config;

struct Site {
    plant: Arc<Plant>,
    status: Arc<Status>,
    /// Of the last scrape's plan.
    metrics: Mutex<Arc<Metrics>>,
    own: Own,
}

/// Serves until it is dropped. `restarts`: how often a supervisor has started this process again; `pulse` beats while it
/// accepts.
pub async fn run(
    listener: TcpListener,
    plant: Arc<Plant>,
    status: Arc<Status>,
    restarts: u64,
    pulse: &Pulse,
) -> prometheus::Result<Infallible> {
    let site = Arc::new(Site {
        metrics: Mutex::new(Arc::new(Metrics::new(&plant.view().plan))),
        own: Own::new(restarts)?,
        plant,
        status,
    });
    let counted = site.clone();
    Ok(server::serve(listener, router(site), Limits::default(), pulse, move || counted.own.refused()).await)
}

impl Site {
    /// Those of the view's plan: made anew after a reload.
    fn metrics(&self, view: &View) -> Arc<Metrics> {
        let kept = || self.metrics.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let metrics = kept().clone();
        if metrics.fit(view) {
            return metrics;
        }
        let metrics = Arc::new(Metrics::new(&view.plan));
        *kept() = metrics.clone();
        metrics
    }
}

fn router(site: Arc<Site>) -> Router {
    Router::new()
        .route("/", get(landing_page))
        .route("/metrics", get(all_metrics))
        .route("/healthz", get(health))
        .route("/api/v1/tags", get(tags))
        .layer(from_fn_with_state(site.clone(), count))
        .with_state(site)
}

/// Counts the answer under one of a few paths, and says what holds for all of them.
async fn count(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let path = match request.uri().path() {
        "/" => "/",
        "/metrics" => "/metrics",
        "/healthz" => "/healthz",
        "/api/v1/tags" => "/api/v1/tags",
        _ => "other",
    };
    let mut response = next.run(request).await;
    site.own.request(path, response.status().as_u16());
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn all_metrics(State(site): State<Arc<Site>>) -> impl IntoResponse {
    let view = site.plant.view();
    let mut page = site.metrics(&view).render(&view, clock::monotonic());
    site.own.render(&site.plant.figures, &mut page);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page)
}

/// 200 while the controller is alive: the values are being kept up to date, good or bad.
async fn health(State(site): State<Arc<Site>>) -> impl IntoResponse {
    if site.plant.view().alive(clock::monotonic()) {
        (StatusCode::OK, "ok\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "controller gone: its process has ended or its real-time loop does not turn\n",
        )
    }
}

async fn tags(State(site): State<Arc<Site>>, RawQuery(query): RawQuery) -> Response {
    let filter = Filter::from_query(query.as_deref());
    let view = site.plant.view();
    let mut snapshot = snapshot::take(&view, &site.status, &filter, clock::monotonic());
    alarms::fill(&site.plant, &mut snapshot);
    match serde_json::to_string(&snapshot) {
        Ok(json) => ([(CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn landing_page(State(site): State<Arc<Site>>, RawQuery(query): RawQuery) -> Response {
    let mut random = [0; 16];
    if getrandom::fill(&mut random).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let nonce: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let filter = Filter::from_query(query.as_deref());
    let view = site.plant.view();
    let mut snapshot = snapshot::take(&view, &site.status, &filter, clock::monotonic());
    alarms::fill(&site.plant, &mut snapshot);
    let headers: [(HeaderName, String); 2] = [
        (CONTENT_TYPE, "text/html; charset=utf-8".into()),
        (CONTENT_SECURITY_POLICY, page::content_security_policy(&nonce)),
    ];
    (headers, page::render(&snapshot, &filter, &nonce)).into_response()
}
