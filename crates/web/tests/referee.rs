//! Another implementation of RFC 9421 reads what is signed here, and what it signs is read here.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use everup_core::time::Wall;
use everup_web::signing::{
    Key, REQUEST, Receiver, TO, content_digest, sign_answer, sign_request, verify_request,
};
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use httpsig::prelude::message_component::HttpMessageComponent;
use httpsig::prelude::{
    AlgorithmName, HttpSignatureBase, HttpSignatureHeaders, HttpSignatureParams, SharedKey,
};

const NOW: Wall = Wall(1_764_000_000_000);
const SECRET: [u8; 32] = [9; 32];
const BODY: &[u8] = br#"{"version":"7"}"#;

fn theirs() -> SharedKey {
    SharedKey::from_base64(&AlgorithmName::HmacSha256, &STANDARD.encode(SECRET)).unwrap()
}

fn ours() -> Key {
    Key::new("k", SECRET)
}

fn request() -> Parts {
    Request::post("/upgrade?version=7").header("host", "Agent.example:7000").body(()).unwrap().into_parts().0
}

/// The lines that a reader of the RFC would write for our request.
fn lines() -> Vec<HttpMessageComponent> {
    let digest = content_digest(BODY);
    [
        r#""@method": POST"#,
        r#""@path": /upgrade"#,
        r#""@query": ?version=7"#,
        r#""@authority": agent.example:7000"#,
        r#""everup-to": i1"#,
        &format!(r#""content-digest": {digest}"#),
    ]
    .into_iter()
    .map(|line| HttpMessageComponent::try_from(line).unwrap())
    .collect()
}

fn they_verify(headers: &HeaderMap, lines: &[HttpMessageComponent]) -> bool {
    let field = |name: &str| headers[name].to_str().unwrap().to_owned();
    let found = HttpSignatureHeaders::try_parse(&field("signature"), &field("signature-input")).unwrap();
    let found = found.get("everup").unwrap();
    let base = HttpSignatureBase::try_new(lines, found.signature_params()).unwrap();
    base.verify_signature_headers(&theirs(), found).is_ok()
}

#[test]
fn they_read_our_request() {
    let mut parts = request();
    sign_request(&mut parts, BODY, "i1", &ours(), NOW, "n1").unwrap();
    assert!(they_verify(&parts.headers, &lines()));
    let mut other = lines();
    other[2] = HttpMessageComponent::try_from(r#""@query": ?version=6"#).unwrap();
    assert!(!they_verify(&parts.headers, &other));
}

#[test]
fn they_read_our_answer() {
    let mut parts = Response::builder().status(202).body(()).unwrap().into_parts().0;
    sign_answer(&mut parts, Some(BODY), "n1", &ours(), NOW).unwrap();
    let lines = [r#""@status": 202"#.to_owned(), format!(r#""content-digest": {}"#, content_digest(BODY))];
    let lines = lines.map(|line| HttpMessageComponent::try_from(line.as_str()).unwrap());
    assert!(they_verify(&parts.headers, &lines));
}

#[test]
fn we_read_their_request() {
    let covered = REQUEST.map(|name| format!("\"{name}\"")).join(" ");
    let params = format!("({covered});created=1764000000;nonce=\"n1\";keyid=\"k\"");
    let params = HttpSignatureParams::try_from(params.as_str()).unwrap();
    let base = HttpSignatureBase::try_new(&lines(), &params).unwrap();
    let signed = base.build_signature_headers(&theirs(), Some("everup")).unwrap();
    let mut parts = request();
    for (name, value) in [
        (TO, "i1".to_owned()),
        ("content-digest", content_digest(BODY)),
        ("signature-input", signed.signature_input_header_value()),
        ("signature", signed.signature_header_value()),
    ] {
        parts.headers.insert(name, value.parse().unwrap());
    }
    let me = Receiver { instance: "i1".parse().unwrap(), environment: "production".parse().unwrap() };
    let verified = verify_request(&parts, &[ours()], &me, NOW).unwrap();
    assert!(verified.body(BODY).is_ok() && verified.nonce == "n1");
}
