//! The kinds of values that everup.toml knows, each with the words for what it expects.

use super::section::Kind;
use everup_core::ids::{Environment, MigrationId, Zone};
use everup_core::policy::{Size, Strategy};
use everup_core::release::OnFailure;
use everup_core::time::Millis;
use everup_host::settings::GateKind;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use toml::de::DeValue;

type Read<T> = Result<T, Option<String>>;

/// Any text but the empty one.
pub const TEXT: Kind<String> = Kind { expected: "a text in quotes", read: text };
/// Yes or no.
pub const FLAG: Kind<bool> = Kind { expected: "true or false", read: |v| v.as_bool().ok_or(None) };
/// A number of instances.
pub const NUMBER: Kind<u32> = Kind { expected: "a whole number from 0 to 10000", read: number };
/// A span of time.
pub const SPAN: Kind<Millis> = Kind {
    expected: "a span of time such as \"500ms\", \"30s\", \"5min\" or \"1h\"",
    read: |v| parse(v, span),
};
/// A number of bytes.
pub const BYTES: Kind<u64> =
    Kind { expected: "a size such as \"64kB\", \"10MB\" or \"1GB\"", read: |v| parse(v, bytes) };
/// Where to listen.
pub const ADDRESS: Kind<SocketAddr> =
    Kind { expected: "an IP address and a port such as \"127.0.0.1:8080\" or \"[::]:80\"", read: from_str };
/// An environment's name.
pub const ENVIRONMENT: Kind<Environment> =
    Kind { expected: "a name such as \"production\"", read: |v| parse(v, |t| said(Environment::new(t))) };
/// A migration's id.
pub const MIGRATION: Kind<MigrationId> = Kind {
    expected: "a name such as \"2026-11-add-orders\"",
    read: |v| parse(v, |t| said(MigrationId::new(t))),
};
/// Names of zones.
pub const ZONES: Kind<Vec<Zone>> = Kind { expected: "a list of names such as [\"a\", \"b\"]", read: zones };
/// A part of a fleet.
pub const SIZE: Kind<Size> =
    Kind { expected: "a number of instances (2) or a percentage (\"25%\")", read: size };
/// Which way a fleet moves.
pub const STRATEGY: Kind<Strategy> = Kind {
    expected: "\"rolling\" or \"all-at-once\"",
    read: |v| one_of(v, &[("rolling", Strategy::Rolling), ("all-at-once", Strategy::AllAtOnce)]),
};
/// What stands before each app.
pub const GATE: Kind<GateKind> = Kind {
    expected: "\"slot\" or \"proxy\"",
    read: |v| one_of(v, &[("slot", GateKind::Slot), ("proxy", GateKind::Proxy)]),
};
/// What a failed migration means.
pub const ON_FAILURE: Kind<OnFailure> = Kind {
    expected: "\"go-back\" or \"stop\"",
    read: |v| one_of(v, &[("go-back", OnFailure::GoBack), ("stop", OnFailure::Stop)]),
};
/// Addresses of machines.
pub const ADDRESSES: Kind<Vec<IpAddr>> =
    Kind { expected: "a list of IP addresses such as [\"10.0.0.7\"]", read: addresses };
/// Environment variables.
pub const VARIABLES: Kind<BTreeMap<String, String>> =
    Kind { expected: "a table of texts such as { KEY = \"value\" }", read: variables };
/// A path of a URL.
pub const PATH: Kind<String> =
    Kind { expected: "a path that begins with \"/\" such as \"/healthz\"", read: |v| parse(v, path) };

fn text(value: &DeValue<'_>) -> Read<String> {
    match value.as_str().ok_or(None)? {
        "" => Err(Some("is empty".to_owned())),
        text => Ok(text.to_owned()),
    }
}

fn parse<T>(value: &DeValue<'_>, with: impl Fn(&str) -> Result<T, String>) -> Read<T> {
    with(value.as_str().ok_or(None)?).map_err(Some)
}

fn from_str<T: FromStr>(value: &DeValue<'_>) -> Read<T> {
    parse(value, |text| text.parse().map_err(|_| format!("is {text:?}")))
}

fn said<T, E: ToString>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|e| format!("is wrong: {}", e.to_string()))
}

fn one_of<T: Copy>(value: &DeValue<'_>, of: &[(&str, T)]) -> Read<T> {
    let found = |text: &str| of.iter().find(|(name, _)| *name == text).map(|(_, t)| *t);
    parse(value, |text| found(text).ok_or_else(|| format!("is {text:?}")))
}

fn number(value: &DeValue<'_>) -> Read<u32> {
    let digits = value.as_integer().ok_or(None)?;
    let number = u32::from_str_radix(digits.as_str(), digits.radix()).ok();
    number.filter(|n| *n <= 10_000).ok_or_else(|| Some(format!("is {}", digits.as_str())))
}

fn size(value: &DeValue<'_>) -> Read<Size> {
    if value.is_integer() { number(value).map(Size::Count) } else { from_str(value) }
}

fn zones(value: &DeValue<'_>) -> Read<Vec<Zone>> {
    let names = value.as_array().ok_or(None)?;
    let zone = |v: &toml::Spanned<DeValue<'_>>| parse(v.get_ref(), |text| said(Zone::new(text)));
    let zones: Vec<Zone> = names.iter().map(zone).collect::<Read<_>>()?;
    let twice = zones.iter().enumerate().find(|(i, zone)| zones[..*i].contains(zone));
    match twice {
        _ if zones.is_empty() => Err(Some("is empty".to_owned())),
        Some((_, zone)) => Err(Some(format!("names {zone} twice"))),
        None => Ok(zones),
    }
}

fn addresses(value: &DeValue<'_>) -> Read<Vec<IpAddr>> {
    value.as_array().ok_or(None)?.iter().map(|address| from_str(address.get_ref())).collect()
}

fn variables(value: &DeValue<'_>) -> Read<BTreeMap<String, String>> {
    let table = value.as_table().ok_or(None)?;
    let entry = |(key, value): (&toml::Spanned<std::borrow::Cow<'_, str>>, &toml::Spanned<DeValue<'_>>)| {
        let key = key.get_ref().to_string();
        let text = value.get_ref().as_str().ok_or_else(|| Some(format!("has a {key} that is no text")))?;
        Ok((key, text.to_owned()))
    };
    table.iter().map(entry).collect()
}

fn path(text: &str) -> Result<String, String> {
    let fits = text.starts_with('/') && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    if fits { Ok(text.to_owned()) } else { Err(format!("is {text:?}")) }
}

/// "500ms", "30s", "5min", "1h" as a span of time.
///
/// # Errors
/// With what the text is instead.
pub fn span(text: &str) -> Result<Millis, String> {
    let units = [("ms", 1), ("s", 1_000), ("min", 60_000), ("m", 60_000), ("h", 3_600_000)];
    amount(text, &units).map(Millis)
}

/// "64kB", "10MB", "1GiB" as a number of bytes.
///
/// # Errors
/// With what the text is instead.
pub fn bytes(text: &str) -> Result<u64, String> {
    let units = [
        ("B", 1),
        ("kB", 1_000),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
    ];
    amount(text, &units)
}

fn amount(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let bad = || format!("is {text:?}");
    let end = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let (digits, unit) = text.split_at(end);
    let factor = units.iter().find(|(name, _)| *name == unit.trim_start()).ok_or_else(bad)?.1;
    digits.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_have_units() {
        assert_eq!(span("500ms"), Ok(Millis(500)));
        assert_eq!(span("5 min"), Ok(Millis(300_000)));
        assert_eq!(bytes("64MB"), Ok(64_000_000));
        for bad in ["", "5", "s", "-5s", "1.5s", "99999999999999999999s", "20000000000000000h"] {
            assert!(span(bad).is_err(), "{bad:?}");
        }
    }
}
