//! What the API says of itself.

use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;

/// The API's description, an OpenAPI 3.1 document: written by hand, and held against real answers by the tests.
pub const OPENAPI: &str = include_str!("../../openapi.json");

pub(super) async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], OPENAPI)
}
