//! From the tables of everup.toml to [`Settings`].

use super::complaint::Sheet;
use super::kinds::{
    ADDRESS, ADDRESSES, BYTES, ENVIRONMENT, FLAG, GATE, NUMBER, PATH, SIZE, SPAN, STRATEGY, TEXT, VARIABLES,
    ZONES,
};
use super::section::Section;
use everup_core::gate::HoldLimits;
use everup_core::policy::Policy;
use everup_host::settings::{App, Check, Fleet, Health, Log, Settings, Store};
use std::path::Path;
use toml::de::DeTable;

/// Reads all tables; what cannot be read is on `sheet`.
pub(super) fn settings(table: &DeTable<'_>, length: usize, root: &Path, sheet: &Sheet) -> Settings {
    let mut settings = Settings::in_folder(root);
    let mut file = Section::root(table, length..length, sheet);
    file.set("application", &TEXT, &mut settings.application);
    file.set("environment", &ENVIRONMENT, &mut settings.environment);
    app(file.section("app"), &mut settings.app);
    health(file.section("health"), sheet, &mut settings.health);
    let mut listen = file.section("listen");
    listen.set("address", &ADDRESS, &mut settings.listen.address);
    listen.set_some("body", &BYTES, &mut settings.listen.body);
    listen.set("trusted", &ADDRESSES, &mut settings.listen.trusted);
    listen.end();
    fleet(file.section("fleet"), &mut settings.fleet);
    settings.deploy.stop = settings.app.stop;
    deploy(file.section("deploy"), &mut settings.deploy);
    hold(file.section("hold"), &mut settings.deploy.hold);
    store(file.section("store"), sheet, root, &mut settings.store);
    let mut prober = file.section("prober");
    prober.set_some("path", &PATH, &mut settings.prober.path);
    prober.end();
    log(file.section("log"), &mut settings.log);
    file.end();
    settings
}

fn app(mut section: Section<'_>, into: &mut App) {
    section.set_some("command", &TEXT, &mut into.command);
    section.set_some("user", &TEXT, &mut into.user);
    section.set("env", &VARIABLES, &mut into.env);
    section.set("stop", &SPAN, &mut into.stop);
    section.end();
}

fn health(mut section: Section<'_>, sheet: &Sheet, into: &mut Health) {
    let path = section.get("path", &PATH);
    let tcp = section.get("tcp", &FLAG);
    let command = section.get("command", &TEXT);
    let host = section.get("host", &TEXT);
    let forwarded_proto = section.get("forwarded_proto", &TEXT);
    let given = [path.is_some(), tcp == Some(true), command.is_some()].iter().filter(|g| **g).count();
    if given > 1 {
        let what = "[health] names more than one check";
        sheet.complain_at("health.command", &["health.tcp"], what, "one of path, tcp and command");
    }
    if path.is_none() && (host.is_some() || forwarded_proto.is_some()) {
        let what = "`host` and `forwarded_proto` in [health] are for a check over HTTP";
        sheet.complain_at("health.host", &["health.forwarded_proto"], what, "expected a `path` beside it");
    }
    if let Some(path) = path {
        into.check = Check::Http { path, host, forwarded_proto };
    } else if let Some(command) = command {
        into.check = Check::Command(command);
    }
    section.set_some("version_path", &PATH, &mut into.version_path);
    section.set("interval", &SPAN, &mut into.interval);
    section.set("deadline", &SPAN, &mut into.deadline);
    section.set("successes", &NUMBER, &mut into.successes);
    section.set("failures", &NUMBER, &mut into.failures);
    section.end();
}

fn fleet(mut section: Section<'_>, into: &mut Fleet) {
    section.set("min", &NUMBER, &mut into.min);
    let max = section.get("max", &NUMBER);
    let desired = section.get("desired", &NUMBER);
    // What is not said follows from what is: min = 12 alone is a fleet of 12, max = 1 alone a fleet of 1.
    into.max = max.unwrap_or(into.max.max(into.min).max(desired.unwrap_or(0)));
    into.desired = desired.unwrap_or(into.desired.max(into.min).min(into.max));
    section.set("zones", &ZONES, &mut into.zones);
    section.set("gate", &GATE, &mut into.gate);
    section.end();
}

fn deploy(mut section: Section<'_>, into: &mut Policy) {
    section.set("strategy", &STRATEGY, &mut into.strategy);
    section.set("batch", &SIZE, &mut into.batch);
    section.set_some("min_in_service", &SIZE, &mut into.min_in_service);
    section.set("overlap", &FLAG, &mut into.overlap);
    section.set_some("max_overlap", &SIZE, &mut into.max_overlap);
    section.set("max_failures", &NUMBER, &mut into.max_failures);
    section.set("drain", &SPAN, &mut into.drain);
    section.set("quiet", &SPAN, &mut into.quiet);
    section.set("start", &SPAN, &mut into.start);
    section.set("stop", &SPAN, &mut into.stop);
    section.set("linger", &SPAN, &mut into.linger);
    section.set("prove", &SPAN, &mut into.prove);
    section.set("stage", &SPAN, &mut into.stage);
    section.set("lapse", &SPAN, &mut into.lapse);
    section.set("bound", &SPAN, &mut into.bound);
    section.end();
}

fn hold(mut section: Section<'_>, into: &mut HoldLimits) {
    section.set("wait", &SPAN, &mut into.wait);
    section.set("requests", &NUMBER, &mut into.requests);
    section.set("bytes", &BYTES, &mut into.bytes);
    section.end();
}

fn store(mut section: Section<'_>, sheet: &Sheet, root: &Path, into: &mut Store) {
    let folder = section.get("folder", &TEXT);
    let url = section.get("s3", &TEXT);
    let endpoint = section.get("endpoint", &TEXT);
    let region = section.get("region", &TEXT);
    section.end();
    match (folder, url) {
        (Some(_), Some(_)) => {
            let expected = "either `folder` or `s3`";
            sheet.complain_at("store.s3", &[], "[store] names two stores", expected);
        }
        (Some(folder), None) => *into = Store::Folder(root.join(folder)),
        (None, Some(url)) if url.strip_prefix("s3://").is_some_and(|b| !b.is_empty()) => {
            *into = Store::S3 { url, endpoint, region };
        }
        (None, Some(url)) => {
            let expected = "expected \"s3://bucket/prefix\"";
            sheet.complain_at("store.s3", &[], format!("`s3` in [store] is {url:?}"), expected);
        }
        (None, None) if endpoint.is_some() || region.is_some() => {
            let what = "`endpoint` and `region` in [store] are for a bucket";
            sheet.complain_at("store.endpoint", &["store.region"], what, "expected an `s3` beside it");
        }
        (None, None) => {}
    }
}

fn log(mut section: Section<'_>, into: &mut Log) {
    section.set("size", &BYTES, &mut into.size);
    section.set("keep", &NUMBER, &mut into.keep);
    section.end();
}
