//! What a coordinator asks of this instance.

use super::Shared;
use super::answer::{Answer, Body, No, Query};
use crate::wire::{Fault, Greeting, NOT_FOR_ME};
use axum::Json;
use axum::extract::State;
use everup_core::instance::View;
use everup_core::order::{Ack, Obeyed, Order};
use http::StatusCode;
use serde::Deserialize;

/// `?since=`.
#[derive(Deserialize)]
pub(super) struct Since {
    #[serde(default)]
    since: u64,
}

pub(super) async fn greet(
    State(backend): State<Shared>,
    Body(greeting): Body<Greeting>,
) -> Answer<Json<Ack>> {
    backend.greet(greeting.term, greeting.holder).await.map(Json)
}

pub(super) async fn order(State(backend): State<Shared>, Body(order): Body<Order>) -> Answer<Json<Ack>> {
    // The signature says the same of the envelope; this says it of the letter.
    if order.to != backend.me.instance {
        let message = format!("the order is for {}, and this is {}", order.to, backend.me.instance);
        return Err(No::new(StatusCode::MISDIRECTED_REQUEST, Fault::new(NOT_FOR_ME, message)));
    }
    let (holder, fence) = (order.holder.clone(), order.fence);
    let ack = backend.order(order).await?;
    if let Obeyed::Older(ours) = ack.obeyed {
        tracing::warn!("an order of {holder} was refused: it is of {fence}, and {ours} is about");
    }
    Ok(Json(ack))
}

pub(super) async fn watch(State(backend): State<Shared>, Query(have): Query<Since>) -> Answer<Json<View>> {
    backend.watch(have.since).await.map(Json)
}

pub(super) async fn poke(State(backend): State<Shared>) -> Answer<StatusCode> {
    backend.poke().await.map(|()| StatusCode::NO_CONTENT)
}
