//! What has to hold between the keys of everup.toml: each value is right by itself, and together they are not.

use super::complaint::Sheet;
use everup_core::policy::Size;
use everup_core::time::Millis;
use everup_host::settings::Settings;

/// Puts on `sheet` what does not fit together.
pub(super) fn settings(settings: &Settings, sheet: &Sheet) {
    fleet(settings, sheet);
    batches(settings, sheet);
    spans(settings, sheet);
    hold(settings, sheet);
    health(settings, sheet);
    if settings.log.size < 4_096 {
        sheet.complain_at("log.size", &[], "`size` in [log] is too small", "expected at least \"4kB\"");
    }
}

fn fleet(settings: &Settings, sheet: &Sheet) {
    let fleet = &settings.fleet;
    if fleet.max == 0 {
        sheet.complain_at("fleet.max", &[], "`max` in [fleet] is 0", "expected at least 1");
    }
    if fleet.min > fleet.max {
        let what = format!("[fleet] has a min of {} and a max of {}", fleet.min, fleet.max);
        sheet.complain_at("fleet.max", &["fleet.min"], what, "expected min <= desired <= max");
    } else if !(fleet.min..=fleet.max).contains(&fleet.desired) {
        let (min, max, desired) = (fleet.min, fleet.max, fleet.desired);
        let what = format!("`desired` in [fleet] is {desired}, outside of min ({min}) to max ({max})");
        sheet.complain_at("fleet.desired", &["fleet.max"], what, "expected min <= desired <= max");
    }
}

fn batches(settings: &Settings, sheet: &Sheet) {
    if settings.deploy.batch == Size::Count(0) {
        sheet.complain_at("deploy.batch", &[], "`batch` in [deploy] is 0", "expected at least 1");
    }
    if let Some(Size::Count(min)) = settings.deploy.min_in_service
        && min > settings.fleet.max
    {
        let max = settings.fleet.max;
        let what = format!("`min_in_service` in [deploy] is {min}, but the fleet never has more than {max}");
        sheet.complain_at("deploy.min_in_service", &[], what, format!("expected at most {max}"));
    }
}

fn spans(settings: &Settings, sheet: &Sheet) {
    let deploy = &settings.deploy;
    let positive = [
        ("app.stop", settings.app.stop),
        ("deploy.start", deploy.start),
        ("deploy.stop", deploy.stop),
        ("deploy.stage", deploy.stage),
        ("health.interval", settings.health.interval),
        ("health.deadline", settings.health.deadline),
        ("hold.wait", deploy.hold.wait),
    ];
    for (path, _) in positive.iter().filter(|(_, span)| *span == Millis::ZERO) {
        sheet.complain_at(path, &[], format!("{path} is no time at all"), "expected more than \"0s\"");
    }
    // A hold is renewed three times before it lapses, and a renewal may take a second on a busy machine.
    if deploy.lapse < Millis::from_secs(3) {
        let what = "`lapse` in [deploy] is too short for a hold to be renewed in time";
        sheet.complain_at("deploy.lapse", &[], what, "expected at least \"3s\"");
    }
    let least = deploy.start + deploy.drain;
    if deploy.bound < least {
        let what = format!(
            "`bound` in [deploy] is {}, shorter than the start and drain of one instance",
            deploy.bound
        );
        let others = ["deploy.start", "deploy.drain"];
        sheet.complain_at("deploy.bound", &others, what, format!("expected at least {least}"));
    }
}

fn hold(settings: &Settings, sheet: &Sheet) {
    let hold = &settings.deploy.hold;
    // The embedded balancer's clients and an ALB give up after 60 s without a byte.
    if hold.wait > Millis::from_secs(55) {
        let what = format!("`wait` in [hold] is {}, longer than clients and balancers wait", hold.wait);
        sheet.complain_at("hold.wait", &[], what, "expected at most \"55s\"");
    }
    if hold.requests == 0 {
        let what = "`requests` in [hold] is 0: nothing could ever wait";
        sheet.complain_at("hold.requests", &[], what, "expected at least 1");
    }
    if hold.bytes < 64_000 {
        let what = "`bytes` in [hold] is too small for the headers of a request";
        sheet.complain_at("hold.bytes", &[], what, "expected at least \"64kB\"");
    }
}

fn health(settings: &Settings, sheet: &Sheet) {
    for (path, count) in
        [("health.successes", settings.health.successes), ("health.failures", settings.health.failures)]
    {
        if count == 0 {
            sheet.complain_at(path, &[], format!("{path} is 0"), "expected at least 1");
        }
    }
}
