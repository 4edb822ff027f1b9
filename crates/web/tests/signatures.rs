//! Who is let in and who is not: one table of requests, one of answers, and the nonces across restarts.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use everup_core::time::Wall;
use everup_web::signing::{
    BadAnswer, Denied, FORWARDED, Key, Nonces, Receiver, TO, Use, Verified, sign_answer, sign_event,
    sign_request, verify_answer, verify_event, verify_request,
};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response};

const NOW: Wall = Wall(1_764_000_000_000);
const BODY: &[u8] = br#"{"version":"7"}"#;

fn key(name: &str) -> Key {
    Key::new(name, name.repeat(32).into_bytes())
}

fn me() -> Receiver {
    Receiver { instance: "i1".parse().unwrap(), environment: "production".parse().unwrap() }
}

fn unsigned() -> Parts {
    let request = Request::post("/upgrade?version=7").header("host", "10.0.0.1:7000");
    request.body(()).unwrap().into_parts().0
}

fn signed_by(key: &Key, to: &str, at: Wall, nonce: &str) -> Parts {
    let mut parts = unsigned();
    sign_request(&mut parts, BODY, to, key, at, nonce).unwrap();
    parts
}

fn signed() -> Parts {
    signed_by(&key("a"), "i1", NOW, "n1")
}

/// All checks but the nonce's, with the keys `a` (newest) and `b`.
fn verify(parts: &Parts, body: &[u8]) -> Result<Verified, Denied> {
    let verified = verify_request(parts, &[key("a"), key("b")], &me(), NOW)?;
    verified.body(body)?;
    Ok(verified)
}

fn set(parts: &mut Parts, name: &'static str, value: &str) {
    parts.headers.insert(name, HeaderValue::from_str(value).unwrap());
}

#[test]
fn what_is_signed_as_it_should_be_is_let_in() {
    let secs = |s: i64| Wall(NOW.0.checked_add_signed(s * 1_000).unwrap());
    for (what, parts) in [
        ("for this instance", signed()),
        ("for any agent", signed_by(&key("a"), "production", NOW, "n")),
        ("with the second key", signed_by(&key("b"), "i1", NOW, "n")),
        ("two minutes old", signed_by(&key("a"), "i1", secs(-120), "n")),
        ("two minutes ahead", signed_by(&key("a"), "i1", secs(120), "n")),
    ] {
        assert!(verify(&parts, BODY).is_ok(), "{what}");
    }
    let verified = verify(&signed(), BODY).unwrap();
    assert_eq!((verified.key.as_str(), verified.nonce.as_str(), verified.created), ("a", "n1", NOW));
}

/// Its signature was made by another implementation.
#[test]
fn the_request_in_the_guide_is_let_in() {
    let guide = include_str!("../../../docs/guide/http.md");
    let shown = guide.split("```http\n").nth(1).unwrap().split("```").next().unwrap();
    let (head, fields) = shown.trim_end().split_once('\n').unwrap();
    let [method, target, _] = head.split(' ').collect::<Vec<_>>()[..] else { panic!("{head}") };
    let fields = fields.lines().map(|line| line.split_once(": ").unwrap());
    let request = Request::builder().method(method).uri(target);
    let request = fields.fold(request, |request, (name, value)| request.header(name, value));
    let parts = request.body(()).unwrap().into_parts().0;
    assert_eq!(verify(&parts, b"").unwrap().created, NOW);
}

#[test]
fn what_was_changed_on_its_way_is_refused() {
    let change = |change: &dyn Fn(&mut Parts)| {
        let mut parts = signed();
        change(&mut parts);
        verify(&parts, BODY)
    };
    for (what, denied) in [
        ("method", change(&|parts| parts.method = Method::PUT)),
        ("path", change(&|parts| parts.uri = "/upgrades?version=7".parse().unwrap())),
        ("query", change(&|parts| parts.uri = "/upgrade?version=6".parse().unwrap())),
        ("authority", change(&|parts| set(parts, "host", "10.0.0.2:7000"))),
        ("receiver", change(&|parts| set(parts, TO, "production"))),
        ("digest", change(&|parts| set(parts, "content-digest", "sha-256=:AAAA:"))),
        (
            "time",
            change(&|parts| {
                let input =
                    parts.headers["signature-input"].to_str().unwrap().replace("created=1", "created=2");
                set(parts, "signature-input", &input);
            }),
        ),
        (
            "nonce",
            change(&|parts| {
                let input = parts.headers["signature-input"].to_str().unwrap().replace("n1", "n2");
                set(parts, "signature-input", &input);
            }),
        ),
        (
            "algorithm",
            change(&|parts| {
                let input = parts.headers["signature-input"].to_str().unwrap().replace("sha256", "sha512");
                set(parts, "signature-input", &input);
            }),
        ),
    ] {
        assert_eq!(denied, Err(Denied::Wrong), "{what}");
    }
    assert_eq!(verify(&signed(), br#"{"version":"6"}"#), Err(Denied::Body));
}

#[test]
fn a_part_that_is_not_covered_is_refused_though_the_signature_fits() {
    use base64::Engine as _;
    use hmac::{Hmac, KeyInit, Mac};
    // Signed by one who has the key and leaves the query open.
    let params = "(\"@method\" \"@path\" \"@authority\" \"everup-to\" \"content-digest\");created=1764000000;nonce=\"n\";keyid=\"a\"";
    let mut parts = signed();
    let digest = parts.headers["content-digest"].to_str().unwrap();
    let base = format!(
        "\"@method\": POST\n\"@path\": /upgrade\n\"@authority\": 10.0.0.1:7000\n\"everup-to\": i1\n\
         \"content-digest\": {digest}\n\"@signature-params\": {params}"
    );
    let mac = Hmac::<sha2::Sha256>::new_from_slice("a".repeat(32).as_bytes())
        .unwrap()
        .chain_update(base)
        .finalize();
    let signature = base64::engine::general_purpose::STANDARD.encode(mac.into_bytes());
    set(&mut parts, "signature-input", &format!("everup={params}"));
    set(&mut parts, "signature", &format!("everup=:{signature}:"));
    assert_eq!(verify(&parts, BODY), Err(Denied::NotCovered("@query")));
}

#[test]
fn a_mark_of_forwarding_cannot_be_added_or_taken_away() {
    let mut parts = signed();
    set(&mut parts, FORWARDED, "i9");
    assert_eq!(verify(&parts, BODY), Err(Denied::NotCovered(FORWARDED)));
    let mut parts = unsigned();
    set(&mut parts, FORWARDED, "i9");
    sign_request(&mut parts, BODY, "i1", &key("a"), NOW, "n").unwrap();
    assert!(verify(&parts, BODY).is_ok());
    parts.headers.remove(FORWARDED);
    assert!(matches!(verify(&parts, BODY), Err(Denied::Malformed(_))));
}

#[test]
fn strangers_and_strays_are_refused_each_with_its_reason() {
    assert_eq!(verify(&unsigned(), BODY), Err(Denied::Unsigned));
    let foreign = signed_by(&key("c"), "i1", NOW, "n");
    assert_eq!(verify(&foreign, BODY), Err(Denied::UnknownKey("c".into())));
    let impostor = signed_by(&Key::new("a", [7; 32]), "i1", NOW, "n");
    assert_eq!(verify(&impostor, BODY), Err(Denied::Wrong));
    let stray = signed_by(&key("a"), "i2", NOW, "n");
    assert_eq!(verify(&stray, BODY), Err(Denied::NotForMe { to: "i2".into(), me: "i1".parse().unwrap() }));
    let mut half = signed();
    half.headers.remove("signature");
    assert_eq!(verify(&half, BODY), Err(Denied::Unsigned));
}

#[test]
fn a_clock_that_is_off_is_a_state_of_its_own() {
    for (at, ahead) in [(Wall(NOW.0 - 300_000), false), (Wall(NOW.0 + 300_000), true)] {
        let denied = verify(&signed_by(&key("a"), "i1", at, "n"), BODY).unwrap_err();
        let Denied::Clock { differs, ahead: is_ahead, here } = denied else { panic!("{denied}") };
        assert_eq!((differs.0, is_ahead, here), (300_000, ahead, NOW));
    }
    // Only one with a key learns the time here.
    let stranger = signed_by(&key("c"), "i1", Wall(NOW.0 - 300_000), "n");
    assert!(matches!(verify(&stranger, BODY), Err(Denied::UnknownKey(_))));
    // A time before 1970 is old, not a panic.
    let mut negative = signed();
    let input =
        negative.headers["signature-input"].to_str().unwrap().replace("created=1764000000", "created=-1");
    set(&mut negative, "signature-input", &input);
    assert_eq!(verify(&negative, BODY), Err(Denied::Wrong));
}

fn with_nonce(nonce: &str, at: Wall) -> Verified {
    verify_request(&signed_by(&key("a"), "i1", at, nonce), &[key("a")], &me(), at).unwrap()
}

fn run(boot: &str, started: Wall) -> Use {
    Use { boot: boot.into(), started }
}

#[test]
fn a_nonce_is_used_once_also_across_a_restart_of_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nonces");
    let nonces = Nonces::open(&path, &run("boot-1", NOW)).unwrap();
    nonces.take(&with_nonce("x", NOW), NOW).unwrap();
    assert_eq!(nonces.take(&with_nonce("x", NOW), NOW), Err(Denied::Replayed));
    drop(nonces);
    let nonces = Nonces::open(&path, &run("boot-1", Wall(NOW.0 + 5_000))).unwrap();
    assert_eq!(nonces.take(&with_nonce("x", NOW), NOW), Err(Denied::Replayed));
    nonces.take(&with_nonce("y", NOW), NOW).unwrap();
}

#[test]
fn a_nonce_is_remembered_for_as_long_as_its_request_could_be_played_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nonces");
    let nonces = Nonces::open(&path, &run("boot-1", NOW)).unwrap();
    // Made by a clock two minutes ahead, it is in time for four minutes.
    let ahead = with_nonce("x", Wall(NOW.0 + 120_000));
    nonces.take(&ahead, Wall(NOW.0 + 239_000)).unwrap();
    let later = Wall(NOW.0 + 241_000);
    nonces.take(&with_nonce("y", later), later).unwrap();
    assert_eq!(nonces.take(&ahead, later), Err(Denied::Replayed));
    drop(nonces);
    let nonces = Nonces::open(&path, &run("boot-1", later)).unwrap();
    assert_eq!(nonces.take(&ahead, later), Err(Denied::Replayed));
    // Two generations on, it is forgotten: memory and file are bounded.
    for minutes in [9, 14] {
        let at = Wall(NOW.0 + minutes * 60_000);
        nonces.take(&with_nonce("z", at), at).ok();
    }
    assert!(nonces.take(&ahead, Wall(NOW.0 + 14 * 60_000)).is_ok());
    assert!(std::fs::metadata(&path).unwrap().len() < 200);
}

#[test]
fn after_a_start_of_the_machine_nothing_older_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nonces");
    let nonces = Nonces::open(&path, &run("boot-1", NOW)).unwrap();
    nonces.take(&with_nonce("x", NOW), NOW).unwrap();
    drop(nonces);
    let started = Wall(NOW.0 + 60_000);
    let nonces = Nonces::open(&path, &run("boot-2", started)).unwrap();
    let old = with_nonce("unseen", Wall(NOW.0 + 59_000));
    assert_eq!(nonces.take(&old, started), Err(Denied::BeforeStart));
    nonces.take(&with_nonce("y", started), started).unwrap();
    drop(nonces);
    // And so it stays when the agent alone is restarted.
    let nonces = Nonces::open(&path, &run("boot-2", Wall(started.0 + 9_000))).unwrap();
    assert_eq!(nonces.take(&old, started), Err(Denied::BeforeStart));
    assert_eq!(nonces.take(&with_nonce("y", started), started), Err(Denied::Replayed));
    nonces.take(&with_nonce("z", started), started).unwrap();
}

#[test]
fn a_torn_or_foreign_file_is_no_reason_to_forget() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nonces");
    let nonces = Nonces::open(&path, &run("boot-1", NOW)).unwrap();
    nonces.take(&with_nonce("x", NOW), NOW).unwrap();
    drop(nonces);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [whole.as_slice(), b"torn"].concat()).unwrap();
    let nonces = Nonces::open(&path, &run("boot-1", NOW)).unwrap();
    nonces.take(&with_nonce("y", NOW), NOW).unwrap();
    drop(nonces);
    let nonces = Nonces::open(&path, &run("boot-1", NOW)).unwrap();
    for used in ["x", "y"] {
        assert_eq!(nonces.take(&with_nonce(used, NOW), NOW), Err(Denied::Replayed), "{used}");
    }
    drop(nonces);
    std::fs::write(&path, b"something else").unwrap();
    let nonces = Nonces::open(&path, &run("boot-1", Wall(NOW.0 + 5_000))).unwrap();
    assert_eq!(nonces.take(&with_nonce("x", NOW), NOW), Err(Denied::BeforeStart));
}

fn answer(nonce: &str, key: &Key, body: Option<&[u8]>) -> http::response::Parts {
    let mut parts = Response::builder().status(202).body(()).unwrap().into_parts().0;
    sign_answer(&mut parts, body, nonce, key, NOW).unwrap();
    parts
}

#[test]
fn an_answer_is_believed_for_its_request_alone() {
    let keys = [key("a"), key("b")];
    let good = answer("n1", &key("b"), Some(BODY));
    assert_eq!(verify_answer(&good, Some(BODY), "n1", &keys), Ok(()));
    assert_eq!(verify_answer(&good, Some(BODY), "n2", &keys), Err(BadAnswer::OtherRequest));
    assert_eq!(verify_answer(&good, Some(b"{}"), "n1", &keys), Err(BadAnswer::Body));
    assert_eq!(verify_answer(&good, Some(BODY), "n1", &[key("a")]), Err(BadAnswer::UnknownKey("b".into())));
    let mut changed = good.clone();
    changed.status = http::StatusCode::OK;
    assert_eq!(verify_answer(&changed, Some(BODY), "n1", &keys), Err(BadAnswer::Wrong));
    let stream = answer("n1", &key("a"), None);
    assert_eq!(verify_answer(&stream, None, "n1", &keys), Ok(()));
    assert_eq!(verify_answer(&stream, Some(b""), "n1", &keys), Err(BadAnswer::NotCovered("content-digest")));
    let bare = Response::new(()).into_parts().0;
    assert_eq!(verify_answer(&bare, Some(b""), "n1", &keys), Err(BadAnswer::Unsigned));
}

#[test]
fn a_request_does_not_pass_for_an_answer() {
    let request = signed();
    let mut parts = Response::new(()).into_parts().0;
    parts.headers = request.headers;
    assert!(verify_answer(&parts, Some(BODY), "n1", &[key("a")]).is_err());
}

#[test]
fn an_event_fits_its_place_in_its_stream() {
    let signature = sign_event(&key("a"), "n1", 3, "data");
    assert!(verify_event(&key("a"), "n1", 3, "data", &signature));
    for (key, nonce, index, data) in [
        (key("b"), "n1", 3, "data"),
        (key("a"), "n2", 3, "data"),
        (key("a"), "n1", 4, "data"),
        (key("a"), "n1", 3, "date"),
    ] {
        assert!(!verify_event(&key, nonce, index, data, &signature));
    }
    assert!(!verify_event(&key("a"), "n1", 3, "data", "no base64!"));
}
