//! The API's routes, in one table: the router is made of it, and the tests hold the document against it.

use super::{Shared, answer, deployments, document, events, guard, peer, status, versions};
use axum::Router;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::Method;

/// A path, and one method that it takes.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, with names in braces.
    pub path: &'static str,
    /// Whether a request without a signature is refused.
    pub signed: bool,
    handler: MethodRouter<Shared>,
}

/// All that an agent answers.
#[must_use]
pub fn routes() -> Vec<Route> {
    vec![
        get("/", status::pointer),
        get("/healthz", status::healthz).unsigned(),
        get("/version", status::version),
        post("/upgrade", deployments::upgrade),
        get("/metrics", status::metrics),
        get("/v1/openapi.json", document::openapi),
        get("/v1/status", status::status),
        get("/v1/fleet", status::fleet),
        get("/v1/events", events::events),
        get("/v1/versions", versions::versions),
        get("/v1/deployments", deployments::list),
        post("/v1/deployments", deployments::deploy),
        get("/v1/deployments/{id}", deployments::one),
        post("/v1/deployments/{id}/words", deployments::say),
        get("/v1/probes", status::probes),
        post("/v1/peer/greet", peer::greet),
        post("/v1/peer/order", peer::order),
        get("/v1/peer/watch", peer::watch),
        post("/v1/peer/poke", peer::poke),
    ]
}

pub(super) fn router(backend: Shared) -> Router {
    let (signed, unsigned): (Vec<_>, Vec<_>) = routes().into_iter().partition(|route| route.signed);
    let guarded = with(Router::new(), signed)
        .fallback(answer::no_route)
        .method_not_allowed_fallback(answer::no_method)
        .layer(from_fn_with_state(backend.clone(), guard::guard));
    with(guarded, unsigned).with_state(backend)
}

fn with(router: Router<Shared>, routes: Vec<Route>) -> Router<Shared> {
    routes.into_iter().fold(router, |router, route| router.route(route.path, route.handler))
}

fn get<T: 'static>(path: &'static str, handler: impl Handler<T, Shared>) -> Route {
    Route { method: Method::GET, path, signed: true, handler: on(MethodFilter::GET, handler) }
}

fn post<T: 'static>(path: &'static str, handler: impl Handler<T, Shared>) -> Route {
    Route { method: Method::POST, path, signed: true, handler: on(MethodFilter::POST, handler) }
}

impl Route {
    fn unsigned(mut self) -> Self {
        self.signed = false;
        self
    }
}
