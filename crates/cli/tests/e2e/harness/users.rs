//! Users while something happens.

use super::until;
use everup_cli::load::{Load, Plan, Tally};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Users at work.
pub(crate) struct Users {
    load: Load,
    plan: Plan,
}

/// So many good answers before a test begins what it tests, and so many more after it.
const SAMPLE: u64 = 30;

impl Users {
    /// GETs of `/` alone: every program answers these.
    #[track_caller]
    pub(crate) fn come(address: SocketAddr) -> Self {
        Self::as_planned(Plan::gets(address, 40))
    }

    /// GETs of `/`, and POSTs that the app counts.
    #[track_caller]
    pub(crate) fn who_write(address: SocketAddr) -> Self {
        Self::as_planned(Plan { posts: 15, ..Plan::gets(address, 25) })
    }

    /// A little of everything: for the demo's app.
    #[track_caller]
    pub(crate) fn with_everything(address: SocketAddr) -> Self {
        Self::as_planned(Plan::mixed(address))
    }

    #[track_caller]
    fn as_planned(plan: Plan) -> Self {
        let users = Self { load: Load::start(plan.clone()).unwrap(), plan };
        users.more();
        users
    }

    /// Waits for more answers.
    #[track_caller]
    pub(crate) fn more(&self) {
        let before = self.load.figures().0;
        until("answers", || (self.load.figures().0 >= before + SAMPLE).then_some(()));
    }

    /// How many of their requests wait for an answer now.
    pub(crate) fn waiting(&self) -> u64 {
        self.load.under_way()
    }

    /// How many of their requests failed so far.
    pub(crate) fn failed(&self) -> u64 {
        self.load.figures().1
    }

    /// Why, and how many for each reason.
    pub(crate) fn reasons(&self) -> BTreeMap<String, u64> {
        self.load.tally().reasons
    }

    /// They go; not one of their requests failed, and there were some of each kind.
    #[track_caller]
    pub(crate) fn all_served(self) -> Tally {
        let (tally, plan) = self.go();
        assert_eq!(tally.failed(), 0, "of {} requests: {:#?}", tally.total(), tally.reasons);
        assert_eq!(tally.empty(&plan), None);
        tally
    }

    /// They go; at most `inside` failed: what was inside of a process that was killed.
    #[track_caller]
    pub(crate) fn served_but(self, inside: u64) -> Tally {
        let (tally, plan) = self.go();
        let (failed, total) = (tally.failed(), tally.total());
        assert!(failed <= inside, "{failed} of {total} requests failed: {:#?}", tally.reasons);
        assert_eq!(tally.empty(&plan), None);
        tally
    }

    /// They go; what they counted.
    #[track_caller]
    pub(crate) fn go(self) -> (Tally, Plan) {
        self.more();
        (self.load.end(), self.plan)
    }
}
